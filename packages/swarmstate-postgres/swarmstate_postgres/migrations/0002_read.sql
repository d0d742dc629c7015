-- Its own search_path restricts a function to the server's functions and operators, whatever is in the
-- schemas of the caller's search_path. The other settings make plans use the primary keys even without
-- statistics: a plan made for an empty table would still scan it when it is large.
CREATE FUNCTION {read}(
    names text[], ttl_queries int[],
    key_queries int[], keys text[],
    range_queries int[], starts text[], stops text[],
    reversed bool[], limits bigint[], keys_only bool[]
) RETURNS TABLE (slot int, key text, value bytea)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $swarmstate$
#variable_conflict use_column
DECLARE
    moment timestamptz := statement_timestamp();
    points int := cardinality(keys);
    live bool[];
    namespace_name text;
BEGIN
    SELECT array_agg(n.name IS NOT NULL ORDER BY q.number) INTO live
    FROM unnest(names) WITH ORDINALITY AS q (name, number)
    LEFT JOIN {namespaces} AS n ON n.name = q.name AND n.emptied_at IS NULL
        AND (n.expires_at IS NULL OR n.expires_at > moment);

    IF points > 0 THEN
        RETURN QUERY
        SELECT p.number::int, NULL::text, r.value
        FROM unnest(key_queries, keys) WITH ORDINALITY AS p (query, key, number)
        JOIN {records} AS r ON r.namespace = names[p.query] AND r.key = p.key
        WHERE live[p.query];
    END IF;

    FOR i IN 1 .. cardinality(range_queries) LOOP
        CONTINUE WHEN NOT live[range_queries[i]];
        namespace_name := names[range_queries[i]];
        IF reversed[i] AND stops[i] IS NULL THEN
            RETURN QUERY
            SELECT points + i, r.key, CASE WHEN keys_only[i] THEN ''::bytea ELSE r.value END
            FROM {records} AS r
            WHERE r.namespace = namespace_name AND r.key >= starts[i]
            ORDER BY r.key DESC LIMIT limits[i];
        ELSIF reversed[i] THEN
            RETURN QUERY
            SELECT points + i, r.key, CASE WHEN keys_only[i] THEN ''::bytea ELSE r.value END
            FROM {records} AS r
            WHERE r.namespace = namespace_name AND r.key >= starts[i] AND r.key < stops[i]
            ORDER BY r.key DESC LIMIT limits[i];
        ELSIF stops[i] IS NULL THEN
            RETURN QUERY
            SELECT points + i, r.key, CASE WHEN keys_only[i] THEN ''::bytea ELSE r.value END
            FROM {records} AS r
            WHERE r.namespace = namespace_name AND r.key >= starts[i]
            ORDER BY r.key LIMIT limits[i];
        ELSE
            RETURN QUERY
            SELECT points + i, r.key, CASE WHEN keys_only[i] THEN ''::bytea ELSE r.value END
            FROM {records} AS r
            WHERE r.namespace = namespace_name AND r.key >= starts[i] AND r.key < stops[i]
            ORDER BY r.key LIMIT limits[i];
        END IF;
    END LOOP;

    IF cardinality(ttl_queries) > 0 THEN
        RETURN QUERY
        SELECT -q.query, COALESCE(extract(epoch FROM n.expires_at - moment)::text, 'inf'), ''::bytea
        FROM unnest(ttl_queries) AS q (query)
        JOIN {namespaces} AS n ON n.name = names[q.query]
        WHERE live[q.query];
    END IF;
END
$swarmstate$;
