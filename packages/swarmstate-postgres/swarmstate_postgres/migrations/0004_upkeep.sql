CREATE FUNCTION {renew}(names text[], ttls float8[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $swarmstate$
DECLARE
    moment timestamptz := statement_timestamp();
BEGIN
    -- Lock in the same order as writers.
    PERFORM FROM {namespaces} AS n WHERE n.name = ANY (names) ORDER BY n.name FOR NO KEY UPDATE;
    UPDATE {namespaces} AS n
    SET expires_at = CASE
        WHEN q.ttl < 'infinity' THEN moment + make_interval(secs => q.ttl) END
    FROM unnest(names, ttls) AS q (name, ttl)
    WHERE n.name = q.name AND n.emptied_at IS NULL
        AND (n.expires_at IS NULL OR n.expires_at > moment);
END
$swarmstate$;

-- Removes the records of up to max_namespaces expired namespaces and returns how many it found.
-- Also removes the rows of namespaces that have been empty for ten minutes: until then, retried
-- writes are recognized by them.
CREATE FUNCTION {sweep}(max_namespaces int DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $swarmstate$
DECLARE
    moment timestamptz := clock_timestamp();
    expired text[];
BEGIN
    expired := ARRAY(
        SELECT n.name FROM {namespaces} AS n WHERE n.expires_at <= moment
        ORDER BY n.expires_at LIMIT max_namespaces FOR UPDATE SKIP LOCKED
    );
    DELETE FROM {records} AS r USING unnest(expired) AS e (name) WHERE r.namespace = e.name;
    UPDATE {namespaces} AS n SET expires_at = NULL, emptied_at = moment
    WHERE n.name = ANY (expired);
    DELETE FROM {namespaces} AS n WHERE n.name = ANY (ARRAY(
        SELECT o.name FROM {namespaces} AS o
        WHERE o.emptied_at < moment - interval '10 minutes'
        ORDER BY o.emptied_at LIMIT max_namespaces FOR UPDATE SKIP LOCKED
    ));
    RETURN cardinality(expired);
END
$swarmstate$;
