-- Applies the batches of one or more writes in one transaction. Each write has a random number, by
-- which a repeated one is known. Returns a row for each write that was refused: with the batch whose
-- expectation did not hold, and the greatest key instead of the expected one or the key that holds
-- another value. The reason is 'last key', 'value' or, for what was refused before, 'repeated'.
-- The last row has the server's time alone, in seconds since the Unix epoch.
--
-- A write that is repeated comes with a server's time before it was sent first. If a namespace has
-- forgotten writes that came later, nobody knows whether this one was applied: error SW001.
--
-- Batches of a round are of different namespaces and applied together; a later round sees what
-- those before it did.
CREATE FUNCTION {write}(
    since float8, tokens bigint[],
    writes int[], names text[], rounds int[],
    clears bool[], fills bool[], ttls float8[], sources text[],
    expect_batches int[], prefixes text[], prefix_ends text[], last_keys text[],
    value_batches int[], value_keys text[], expected_values bytea[],
    range_batches int[], starts text[], stops text[],
    delete_batches int[], delete_keys text[],
    absent_batches int[], absent_keys text[], absent_values bytea[],
    put_batches int[], put_keys text[], put_values bytea[],
    round_count int
) RETURNS TABLE (refused_write int, refused_batch int, found_key text, reason text, server_time float8)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $swarmstate$
#variable_conflict use_column
DECLARE
    signed bigint[] := CASE
        WHEN cardinality(tokens) = 1 THEN tokens || -tokens[1]
        ELSE tokens || ARRAY(SELECT -t FROM unnest(tokens) AS t) END;
    ended bool[] := array_fill(false, ARRAY[cardinality(tokens)]);
    applied bool[] := array_fill(false, ARRAY[cardinality(names)]);
    active bool[];
    -- Whether a namespace may come into being, end or get another expiry.
    settles bool := false = ANY (fills) OR true = ANY (clears) OR cardinality(ttls) > 0;
    moment timestamptz;
    locked record;
    found record;
BEGIN
    -- The row is the lock of its namespace until the end of the transaction. Rows are locked in
    -- the order of their names, so that no two writers wait for each other.
    FOR locked IN
        INSERT INTO {namespaces} AS n (name, writes)
        SELECT b.name, array_agg(DISTINCT tokens[b.write])
        FROM unnest(names, writes) AS b (name, write)
        GROUP BY b.name ORDER BY b.name COLLATE "C"
        ON CONFLICT (name) DO UPDATE SET
            writes = CASE
                WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                THEN n.writes || EXCLUDED.writes ELSE EXCLUDED.writes END,
            writes_since = CASE
                WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                THEN n.writes_since ELSE clock_timestamp() END,
            older_writes = CASE
                WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                THEN n.older_writes ELSE n.writes END,
            older_writes_since = CASE
                WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                THEN n.older_writes_since ELSE n.writes_since END
        RETURNING n.name, n.expires_at, n.emptied_at, n.older_writes || n.writes AS known,
            n.older_writes_since AS known_since
    LOOP
        IF locked.emptied_at IS NOT NULL THEN
            settles := true;
        ELSIF locked.expires_at <= clock_timestamp() THEN
            settles := true;
            DELETE FROM {records} AS r WHERE r.namespace = locked.name;
            UPDATE {namespaces} AS n SET expires_at = NULL, emptied_at = clock_timestamp()
            WHERE n.name = locked.name;
        END IF;
        IF cardinality(tokens) > 1
            OR cardinality(array_positions(locked.known, tokens[1])) > 1
            OR -tokens[1] = ANY (locked.known)
        THEN
            -- Each token was added just now; one that was there before is there twice.
            FOR found IN
                SELECT array_position(tokens, abs(k)) AS write, bool_or(k < 0) AS is_refused
                FROM unnest(locked.known) AS k
                WHERE k = ANY (signed)
                GROUP BY abs(k) HAVING count(*) > 1
            LOOP
                ended[found.write] := true;
                IF found.is_refused THEN
                    refused_write := found.write;
                    refused_batch := array_position(writes, found.write);
                    reason := 'repeated';
                    RETURN NEXT;
                END IF;
            END LOOP;
        END IF;
        -- The rows of empty namespaces are kept for longer than this.
        IF false = ANY (ended) AND (
            locked.known_since > to_timestamp(since)
            OR clock_timestamp() - to_timestamp(since) > interval '5 minutes'
        ) THEN
            RAISE EXCEPTION 'swarmstate: too much was written since' USING ERRCODE = 'SW001';
        END IF;
    END LOOP;
    moment := clock_timestamp();

    FOR this_round IN 1 .. round_count LOOP
        IF round_count = 1 AND NOT true = ANY (ended) THEN
            active := array_fill(true, ARRAY[cardinality(names)]);
        ELSE
            SELECT array_agg(b.round = this_round AND NOT ended[b.write] ORDER BY b.number)
            INTO active
            FROM unnest(rounds, writes) WITH ORDINALITY AS b (round, write, number);
        END IF;

        IF cardinality(expect_batches) + cardinality(value_batches) > 0 THEN
            FOR found IN
                SELECT c.batch, c.last_key, 'last key' AS reason FROM (
                    SELECT e.batch, e.last_key AS expected, CASE
                        WHEN e.prefix_end IS NULL THEN (
                            SELECT r.key FROM {records} AS r
                            WHERE r.namespace = names[e.batch] AND r.key >= e.prefix
                            ORDER BY r.key DESC LIMIT 1
                        ) ELSE (
                            SELECT r.key FROM {records} AS r
                            WHERE r.namespace = names[e.batch] AND r.key >= e.prefix
                                AND r.key < e.prefix_end
                            ORDER BY r.key DESC LIMIT 1
                        ) END AS last_key
                    FROM unnest(expect_batches, prefixes, prefix_ends, last_keys)
                        AS e (batch, prefix, prefix_end, last_key)
                    WHERE active[e.batch]
                ) AS c WHERE c.last_key IS DISTINCT FROM c.expected
                UNION ALL
                SELECT e.batch, e.key, 'value'
                FROM unnest(value_batches, value_keys, expected_values) AS e (batch, key, value)
                LEFT JOIN {records} AS r ON r.namespace = names[e.batch] AND r.key = e.key
                WHERE active[e.batch] AND r.value IS DISTINCT FROM e.value
                ORDER BY batch
            LOOP
                CONTINUE WHEN ended[writes[found.batch]];
                refused_write := writes[found.batch];
                refused_batch := found.batch;
                found_key := found.last_key;
                reason := found.reason;
                RETURN NEXT;
                ended[refused_write] := true;
                settles := true;
                -- What comes after it in its write is not applied.
                SELECT array_agg(
                    b.is_active AND NOT (b.write = refused_write AND b.number >= refused_batch)
                    ORDER BY b.number
                ) INTO active
                FROM unnest(active, writes) WITH ORDINALITY AS b (is_active, write, number);
                UPDATE {namespaces} AS n
                SET writes = array_replace(n.writes, tokens[refused_write], -tokens[refused_write])
                WHERE n.name = names[refused_batch];
            END LOOP;
        END IF;

        IF true = ANY (clears) THEN
            DELETE FROM {records} AS r
            USING unnest(names, clears, active) AS b (name, clears, is_active)
            WHERE b.clears AND b.is_active AND r.namespace = b.name;
        END IF;
        IF cardinality(sources) > 0 THEN
            INSERT INTO {records} (namespace, key, value)
            SELECT b.name, r.key, r.value
            FROM unnest(names, sources, active) AS b (name, source, is_active)
            JOIN {namespaces} AS n ON n.name = b.source AND n.emptied_at IS NULL
                AND (n.expires_at IS NULL OR n.expires_at > moment)
            JOIN {records} AS r ON r.namespace = b.source
            WHERE b.is_active;
        END IF;
        IF cardinality(range_batches) > 0 THEN
            DELETE FROM {records} AS r
            USING unnest(range_batches, starts, stops) AS d (batch, start, stop)
            WHERE active[d.batch] AND r.namespace = names[d.batch]
                AND r.key >= d.start AND r.key < d.stop;
            IF array_position(stops, NULL) IS NOT NULL THEN
                DELETE FROM {records} AS r
                USING unnest(range_batches, starts, stops) AS d (batch, start, stop)
                WHERE active[d.batch] AND d.stop IS NULL
                    AND r.namespace = names[d.batch] AND r.key >= d.start;
            END IF;
        END IF;
        IF cardinality(delete_batches) > 0 THEN
            DELETE FROM {records} AS r
            USING unnest(delete_batches, delete_keys) AS d (batch, key)
            WHERE active[d.batch] AND r.namespace = names[d.batch] AND r.key = d.key;
        END IF;
        IF cardinality(absent_batches) > 0 THEN
            INSERT INTO {records} (namespace, key, value)
            SELECT names[p.batch], p.key, p.value
            FROM unnest(absent_batches, absent_keys, absent_values) AS p (batch, key, value)
            WHERE active[p.batch]
            ON CONFLICT (namespace, key) DO NOTHING;
        END IF;
        IF cardinality(put_batches) > 0 THEN
            INSERT INTO {records} (namespace, key, value)
            SELECT names[p.batch], p.key, p.value
            FROM unnest(put_batches, put_keys, put_values) AS p (batch, key, value)
            WHERE active[p.batch]
            ON CONFLICT (namespace, key) DO UPDATE SET value = EXCLUDED.value;
        END IF;
        IF round_count = 1 THEN
            applied := active;
        ELSE
            SELECT array_agg(b.is_applied OR b.is_active ORDER BY b.number) INTO applied
            FROM unnest(applied, active) WITH ORDINALITY AS b (is_applied, is_active, number);
        END IF;
    END LOOP;

    IF settles THEN
        UPDATE {namespaces} AS n SET
            emptied_at = CASE WHEN c.lives THEN NULL ELSE COALESCE(n.emptied_at, moment) END,
            expires_at = CASE
                WHEN NOT c.lives THEN NULL
                WHEN c.sets THEN c.expires_at
                ELSE n.expires_at END
        FROM (
            SELECT DISTINCT ON (b.name) b.name, b.sets,
                EXISTS (SELECT FROM {records} AS r WHERE r.namespace = b.name) AS lives,
                CASE
                    WHEN b.source IS NOT NULL
                    THEN (SELECT s.expires_at FROM {namespaces} AS s WHERE s.name = b.source)
                    WHEN b.ttl < 'infinity' THEN moment + make_interval(secs => b.ttl)
                END AS expires_at
            FROM (
                SELECT u.*, applied[u.number] AND (u.clears OR u.ttl IS NOT NULL) AS sets
                FROM unnest(names, clears, ttls, sources)
                    WITH ORDINALITY AS u (name, clears, ttl, source, number)
            ) AS b
            ORDER BY b.name, b.sets DESC, b.number DESC
        ) AS c
        WHERE n.name = c.name;
    END IF;
    IF true = ANY (clears) THEN
        -- Whoever deletes tidies up a little. Rows in use are skipped, so this waits for nobody.
        DELETE FROM {namespaces} AS n WHERE n.name = ANY (ARRAY(
            SELECT o.name FROM {namespaces} AS o
            WHERE o.emptied_at < moment - interval '10 minutes'
            ORDER BY o.emptied_at LIMIT 8 FOR UPDATE SKIP LOCKED
        ));
    END IF;
    refused_write := NULL;
    server_time := extract(epoch FROM moment);
    RETURN NEXT;
END
$swarmstate$;
