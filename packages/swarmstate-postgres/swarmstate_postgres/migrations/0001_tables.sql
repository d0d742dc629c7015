-- Words in braces are placeholders for names. None may be in a comment: a name could end it.
CREATE TABLE {namespaces} (
    name text COLLATE "C" PRIMARY KEY,
    expires_at timestamptz,
    emptied_at timestamptz DEFAULT clock_timestamp(),
    writes bigint[] NOT NULL,
    writes_since timestamptz NOT NULL DEFAULT '-infinity',
    older_writes bigint[] NOT NULL DEFAULT '{}',
    older_writes_since timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 70);

CREATE INDEX {namespaces_expiry} ON {namespaces} (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX {namespaces_emptied} ON {namespaces} (emptied_at) WHERE emptied_at IS NOT NULL;

CREATE TABLE {records} (
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (namespace, key)
);

COMMENT ON TABLE {namespaces} IS
    'One row for each namespace; where emptied_at is set it holds no record and is removed later.';
COMMENT ON COLUMN {namespaces}.writes IS
    'Numbers of the newest writes, negative if refused: a write that is repeated is known by its.';
COMMENT ON COLUMN {namespaces}.older_writes IS
    'Those before; all since older_writes_since are here or there.';
COMMENT ON TABLE {records} IS 'The records; values are msgpack.';
