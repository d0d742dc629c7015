CREATE VIEW {namespaces_view} AS
SELECT n.name AS namespace, s.records, s.bytes, s.stored_bytes, n.expires_at
FROM {namespaces} AS n
CROSS JOIN LATERAL (
    SELECT count(*) AS records,
        sum(octet_length(r.value))::bigint AS bytes,
        sum(pg_column_size(r.value))::bigint AS stored_bytes
    FROM {records} AS r
    WHERE r.namespace = n.name
) AS s
WHERE n.emptied_at IS NULL AND (n.expires_at IS NULL OR n.expires_at > statement_timestamp());

CREATE VIEW {records_view} AS
SELECT r.namespace, split_part(r.key, '/', 1) AS kind, r.key,
    octet_length(r.value) AS bytes, pg_column_size(r.value) AS stored_bytes, n.expires_at
FROM {records} AS r
JOIN {namespaces} AS n ON n.name = r.namespace
WHERE n.emptied_at IS NULL AND (n.expires_at IS NULL OR n.expires_at > statement_timestamp());

COMMENT ON VIEW {namespaces_view} IS
    'What each namespace holds; stored_bytes is after compression.';
COMMENT ON VIEW {records_view} IS
    'Records without their values; kind is what stands before the first "/" of the key.';
