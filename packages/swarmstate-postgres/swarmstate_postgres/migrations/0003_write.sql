-- Applies the batches of one or more writes in one transaction. Each write has a random number by
-- which a retry is recognized. Returns a row for each refused write: the batch whose expectation did
-- not hold, and the actual last key or the key that holds another value. The reason is 'last key',
-- 'value' or, if an earlier attempt was refused, 'repeated'. The final row has only the server's time,
-- in seconds since the Unix epoch.
--
-- A retry comes with a server time from before the first attempt. If a namespace has forgotten writes
-- from after that time, nobody knows whether this one was applied: error SW001.
--
-- Each batch has an entry in the arrays from writes to last_keys and in the arrays of counts, which say
-- how many entries of the arrays that follow are its own; arrays that no batch needs are NULL. Each
-- statement touches one namespace: one index scan, whatever the tables' statistics. An array that
-- belongs to one batch is used whole, others entry by entry, since slicing an array copies all of it.
CREATE FUNCTION {write}(
    since float8, lock_names text[], lock_writes int[], tokens bigint[],
    writes int[], names text[], clears bool[], ttls float8[], sources text[],
    prefixes text[], prefix_ends text[], last_keys text[],
    value_counts int[], value_keys text[], expected_values bytea[],
    range_counts int[], starts text[], stops text[],
    delete_counts int[], delete_keys text[],
    absent_counts int[], absent_keys text[], absent_values bytea[],
    put_counts int[], put_keys text[], put_values bytea[]
) RETURNS TABLE (refused_write int, refused_batch int, found_key text, reason text, server_time float8)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $swarmstate$
#variable_conflict use_column
DECLARE
    moment timestamptz;
    locked record;
    this_name text;
    this_token bigint;
    signed bigint[];
    known bigint[];
    -- Writes whose remaining batches are not applied.
    ended int[] := '{}';
    -- Namespaces that held no record at some time in this write.
    hollow text[] := '{}';
    found_value bytea;
    fills bool;
    sets bool;
    lives bool;
    ends_at timestamptz;
    source_ends_at timestamptz;
    value_end int := 0;
    range_end int := 0;
    delete_end int := 0;
    absent_end int := 0;
    put_end int := 0;
    value_count int;
    range_count int;
    delete_count int;
    absent_count int;
    put_count int;
BEGIN
    -- The row locks its namespace until the end of the transaction. The caller lists them in the order
    -- of their names, so that no two writers deadlock.
    FOR i IN 1 .. cardinality(lock_names) LOOP
        this_name := lock_names[i];
        signed := ARRAY[tokens[i], -tokens[i]];
        LOOP
            UPDATE {namespaces} AS n SET
                writes = CASE
                    WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                    THEN n.writes || signed[1] ELSE signed[1:1] END,
                writes_since = CASE
                    WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                    THEN n.writes_since ELSE clock_timestamp() END,
                older_writes = CASE
                    WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                    THEN n.older_writes ELSE n.writes END,
                older_writes_since = CASE
                    WHEN cardinality(n.writes) < 16 OR n.older_writes && signed
                    THEN n.older_writes_since ELSE n.writes_since END
            WHERE n.name = this_name
            RETURNING n.expires_at, n.emptied_at, n.writes, n.older_writes, n.older_writes_since
            INTO locked;
            EXIT WHEN FOUND;
            -- If another transaction is inserting it, this waits for that one.
            INSERT INTO {namespaces} (name, writes) VALUES (this_name, '{}')
            ON CONFLICT (name) DO NOTHING;
        END LOOP;
        moment := clock_timestamp();
        IF locked.emptied_at IS NOT NULL THEN
            hollow := hollow || this_name;
        ELSIF locked.expires_at <= moment THEN
            hollow := hollow || this_name;
            DELETE FROM {records} AS r WHERE r.namespace = this_name;
            UPDATE {namespaces} AS n SET expires_at = NULL, emptied_at = moment
            WHERE n.name = this_name;
        END IF;
        CONTINUE WHEN since IS NULL;
        known := locked.older_writes || locked.writes;
        IF signed[2] = ANY (known) THEN
            ended := ended || lock_writes[i];
            refused_write := lock_writes[i];
            refused_batch := array_position(writes, refused_write);
            reason := 'repeated';
            RETURN NEXT;
        -- It was appended above; if it was applied before, it is there twice.
        ELSIF cardinality(array_positions(known, signed[1])) > 1 THEN
            ended := ended || lock_writes[i];
        -- Rows of empty namespaces are kept longer than this.
        ELSIF locked.older_writes_since > to_timestamp(since)
            OR moment - to_timestamp(since) > interval '5 minutes'
        THEN
            RAISE EXCEPTION 'swarmstate: too much was written since' USING ERRCODE = 'SW001';
        END IF;
    END LOOP;

    FOR i IN 1 .. cardinality(names) LOOP
        this_name := names[i];
        value_count := COALESCE(value_counts[i], 0);
        range_count := COALESCE(range_counts[i], 0);
        delete_count := COALESCE(delete_counts[i], 0);
        absent_count := COALESCE(absent_counts[i], 0);
        put_count := COALESCE(put_counts[i], 0);
        value_end := value_end + value_count;
        range_end := range_end + range_count;
        delete_end := delete_end + delete_count;
        absent_end := absent_end + absent_count;
        put_end := put_end + put_count;
        CONTINUE WHEN writes[i] = ANY (ended);

        reason := NULL;
        IF prefixes[i] IS NOT NULL THEN
            IF prefix_ends[i] IS NULL THEN
                SELECT r.key INTO found_key FROM {records} AS r
                WHERE r.namespace = this_name AND r.key >= prefixes[i]
                ORDER BY r.key DESC LIMIT 1;
            ELSE
                SELECT r.key INTO found_key FROM {records} AS r
                WHERE r.namespace = this_name AND r.key >= prefixes[i] AND r.key < prefix_ends[i]
                ORDER BY r.key DESC LIMIT 1;
            END IF;
            IF found_key IS DISTINCT FROM last_keys[i] THEN
                reason := 'last key';
            END IF;
        END IF;
        FOR j IN value_end - value_count + 1 .. value_end LOOP
            EXIT WHEN reason IS NOT NULL;
            SELECT r.value INTO found_value FROM {records} AS r
            WHERE r.namespace = this_name AND r.key = value_keys[j];
            IF found_value IS DISTINCT FROM expected_values[j] THEN
                reason := 'value';
                found_key := value_keys[j];
            END IF;
        END LOOP;
        IF reason IS NOT NULL THEN
            ended := ended || writes[i];
            refused_write := writes[i];
            refused_batch := i;
            RETURN NEXT;
            this_token := tokens[array_position(lock_writes, refused_write)];
            UPDATE {namespaces} AS n
            SET writes = array_replace(n.writes, this_token, -this_token)
            WHERE n.name = this_name;
            CONTINUE;
        END IF;

        IF clears[i] THEN
            DELETE FROM {records} AS r WHERE r.namespace = this_name;
        END IF;
        IF sources[i] IS NOT NULL THEN
            -- One statement sees one snapshot, and does not block writers to the source.
            WITH source AS (
                SELECT n.expires_at FROM {namespaces} AS n
                WHERE n.name = sources[i] AND n.emptied_at IS NULL
                    AND (n.expires_at IS NULL OR n.expires_at > moment)
            ), copied AS (
                INSERT INTO {records} (namespace, key, value)
                SELECT this_name, r.key, r.value FROM {records} AS r
                WHERE r.namespace = sources[i] AND EXISTS (SELECT FROM source)
            )
            SELECT s.expires_at INTO source_ends_at FROM source AS s;
        END IF;
        FOR j IN range_end - range_count + 1 .. range_end LOOP
            IF stops[j] IS NULL THEN
                DELETE FROM {records} AS r WHERE r.namespace = this_name AND r.key >= starts[j];
            ELSE
                DELETE FROM {records} AS r
                WHERE r.namespace = this_name AND r.key >= starts[j] AND r.key < stops[j];
            END IF;
        END LOOP;
        IF delete_count > 1 AND delete_count = cardinality(delete_keys) THEN
            DELETE FROM {records} AS r
            WHERE r.namespace = this_name AND r.key = ANY (delete_keys);
        ELSE
            FOR j IN delete_end - delete_count + 1 .. delete_end LOOP
                DELETE FROM {records} AS r
                WHERE r.namespace = this_name AND r.key = delete_keys[j];
            END LOOP;
        END IF;
        IF absent_count > 1 AND absent_count = cardinality(absent_keys) THEN
            INSERT INTO {records} (namespace, key, value)
            SELECT this_name, p.key, p.value FROM unnest(absent_keys, absent_values) AS p (key, value)
            ON CONFLICT (namespace, key) DO NOTHING;
        ELSE
            FOR j IN absent_end - absent_count + 1 .. absent_end LOOP
                INSERT INTO {records} (namespace, key, value)
                VALUES (this_name, absent_keys[j], absent_values[j])
                ON CONFLICT (namespace, key) DO NOTHING;
            END LOOP;
        END IF;
        IF put_count > 1 AND put_count = cardinality(put_keys) THEN
            INSERT INTO {records} (namespace, key, value)
            SELECT this_name, p.key, p.value FROM unnest(put_keys, put_values) AS p (key, value)
            ON CONFLICT (namespace, key) DO UPDATE SET value = EXCLUDED.value;
        ELSE
            FOR j IN put_end - put_count + 1 .. put_end LOOP
                INSERT INTO {records} (namespace, key, value)
                VALUES (this_name, put_keys[j], put_values[j])
                ON CONFLICT (namespace, key) DO UPDATE SET value = EXCLUDED.value;
            END LOOP;
        END IF;

        -- The namespace may have been created, emptied or given another expiry.
        fills := absent_count + put_count > 0;
        sets := COALESCE(clears[i], false) OR ttls[i] IS NOT NULL;
        IF sets OR NOT fills OR this_name = ANY (hollow) THEN
            lives := fills OR EXISTS (SELECT FROM {records} AS r WHERE r.namespace = this_name);
            IF NOT lives THEN
                hollow := hollow || this_name;
            END IF;
            ends_at := NULL;
            IF sources[i] IS NOT NULL THEN
                ends_at := source_ends_at;
            ELSIF ttls[i] < 'infinity' THEN
                ends_at := moment + make_interval(secs => ttls[i]);
            END IF;
            UPDATE {namespaces} AS n SET
                emptied_at = CASE WHEN lives THEN NULL ELSE COALESCE(n.emptied_at, moment) END,
                expires_at = CASE
                    WHEN NOT lives THEN NULL
                    WHEN sets THEN ends_at
                    ELSE n.expires_at END
            WHERE n.name = this_name;
        END IF;
    END LOOP;

    IF true = ANY (clears) THEN
        -- A write that clears also cleans up a little. It skips locked rows, so it never waits.
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
