-- What a person's word does to rows.

-- Skips what waits for these rows of a run, which a person has just called applied: rows of newer runs that ask the same,
-- if in the order of the files nothing of their ticket lies between but others of their kind. Whatever else does may have
-- changed the ticket, or may be going to. Gives pairs of run and rows.
CREATE FUNCTION deskload.skip_twins(v_run bigint, v_applied bigint[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_account bigint;
    v_twin    record;
    v_twins   jsonb := '[]';
BEGIN
    SELECT account INTO STRICT v_account FROM deskload.run WHERE id = v_run;
    FOR v_twin IN
        WITH twin AS (
            SELECT p.run, p.number, d.number AS doubt FROM deskload.rows d
                JOIN deskload.rows p ON p.ticket = d.ticket AND p.same = d.same AND p.state = 2 AND p.run > v_run
                JOIN deskload.run ON run.id = p.run AND run.account = v_account
            WHERE d.run = v_run AND d.number = ANY (v_applied) AND NOT EXISTS (
                SELECT FROM deskload.run between_run JOIN deskload.rows b ON b.run = between_run.id
                WHERE between_run.account = v_account AND between_run.id BETWEEN v_run AND p.run
                    AND b.ticket = d.ticket
                    AND (b.run, b.number) > (v_run, d.number) AND (b.run, b.number) < (p.run, p.number)
                    AND (b.state <> 2 OR b.same <> d.same OR b.run = v_run))
            ORDER BY p.run, p.number FOR UPDATE OF p
        ), skipped AS (
            UPDATE deskload.rows r SET state = 6, body = NULL, reason = 'already applied', http_status = NULL,
                message = 'a person said that the desk has the same update: run ' || v_run || ', row ' || twin.doubt
                FROM twin WHERE r.run = twin.run AND r.number = twin.number RETURNING r.run
        )
        SELECT run, count(*) AS rows FROM skipped GROUP BY run ORDER BY run
    LOOP
        PERFORM deskload.count_up(v_twin.run, jsonb_build_object('6', v_twin.rows));
        v_twins := v_twins || jsonb_build_array(jsonb_build_array(v_twin.run, v_twin.rows));
    END LOOP;
    RETURN v_twins;
END $$;

-- A person's word on rows in doubt; `v_ranges` is JSON, pairs of first and last, or NULL for all of them. Gives how many
-- were settled and what was skipped with them, or, where a range names a row that is not in doubt, the first such row,
-- and settles nothing. It is a word on what was in doubt when it was given: one that was held up on its way until after
-- `v_until` settles nothing, because it was not meant for what has come to be in doubt since.
CREATE FUNCTION deskload.resolve(v_run bigint, v_state integer, v_message text, v_ranges jsonb, v_until bigint)
RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_all   bigint[];
    v_found bigint[];
    v_odd   numeric;
    e       record;
BEGIN
    IF deskload.now_us() > v_until THEN
        RAISE EXCEPTION 'this word comes too late' USING ERRCODE = 'DL003';
    END IF;
    v_all := ARRAY(SELECT number FROM deskload.rows WHERE run = v_run AND state = 5 ORDER BY number FOR UPDATE);
    IF v_ranges IS NULL THEN
        v_found := v_all;
    ELSE
        -- A person may name a number that is too large for a row.
        FOR e IN SELECT (r.v->>0)::numeric AS low, (r.v->>1)::numeric AS high
                FROM jsonb_array_elements(v_ranges) WITH ORDINALITY AS r(v, i) ORDER BY r.i LOOP
            IF NOT EXISTS (SELECT FROM unnest(v_all) AS n WHERE n = e.low) THEN
                v_odd := e.low;
            ELSE
                SELECT min(n + 1) INTO v_odd FROM unnest(v_all) AS n
                    WHERE n >= e.low AND n < e.high AND NOT n + 1 = ANY (v_all);
            END IF;
            IF v_odd IS NOT NULL THEN
                RETURN jsonb_build_object('odd', v_odd);
            END IF;
            v_found := v_found || ARRAY(SELECT n FROM unnest(v_all) AS n WHERE n BETWEEN e.low AND e.high);
        END LOOP;
    END IF;
    UPDATE deskload.rows SET state = v_state, reason = 'resolved', message = v_message,
        body = CASE WHEN v_state IN (1, 6) THEN NULL ELSE body END
        WHERE run = v_run AND state = 5 AND number = ANY (v_found);
    PERFORM deskload.count_up(v_run, jsonb_build_object('5', -coalesce(cardinality(v_found), 0),
        v_state::text, coalesce(cardinality(v_found), 0)));
    RETURN jsonb_build_object('settled', jsonb_build_object('rows', coalesce(cardinality(v_found), 0),
        'twins', CASE WHEN v_state = 1 THEN deskload.skip_twins(v_run, v_found) ELSE '[]' END));
END $$;

-- Makes failed rows pending again. Those that newer data has come after are settled in their turn. NULL: the run's rows were
-- given up.
CREATE FUNCTION deskload.retry(v_run bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_rows   bigint;
    v_pruned bigint;
BEGIN
    PERFORM 1 FROM deskload.rows WHERE run = v_run AND state = 3 ORDER BY number FOR UPDATE;
    SELECT pruned_ms INTO v_pruned FROM deskload.run WHERE id = v_run FOR UPDATE;
    IF v_pruned IS NOT NULL THEN
        RETURN NULL;
    END IF;
    UPDATE deskload.rows SET state = 2, retried = true WHERE run = v_run AND state = 3;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM deskload.count_up(v_run, jsonb_build_object('3', -v_rows));
    RETURN v_rows;
END $$;
