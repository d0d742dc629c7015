-- "vector" in braces is a placeholder for pgvector's type, with its schema.
CREATE TABLE {vector_states} (
    namespace text COLLATE "C" PRIMARY KEY REFERENCES {namespaces} (name) ON DELETE CASCADE,
    cursors text[] NOT NULL,
    dimensions int,
    problem text
);

-- Embeddings are stored inline as far as they fit in a page: a search reads them all.
CREATE TABLE {vectors} (
    namespace text COLLATE "C" NOT NULL REFERENCES {vector_states} (namespace) ON DELETE CASCADE,
    key text COLLATE "C" NOT NULL,
    number int NOT NULL,
    scope text[] COLLATE "C" NOT NULL,
    categories text[] COLLATE "C" NOT NULL,
    facts jsonb,
    rest bytea,
    embedding {vector},
    PRIMARY KEY (namespace, key, number)
) WITH (toast_tuple_target = 8160);

COMMENT ON TABLE {vector_states} IS
    'Collections whose embeddings are searched here, and how far they were derived from the records.';
COMMENT ON TABLE {vectors} IS
    'Derived from records of collections: a row for each embedding, at least one for each record.';
COMMENT ON COLUMN {vectors}.facts IS
    'What of the value is plain data, for filters; NULL if nothing is known of it.';
COMMENT ON COLUMN {vectors}.rest IS
    'The record without its embeddings, in its first row.';
