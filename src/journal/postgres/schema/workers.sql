-- Who works on what: leases, take-overs, and the account's active run.

-- Calls the rows in doubt that are on their way from a worker, or in these units. Gives how many.
CREATE FUNCTION deskload.cut_off(v_account bigint, v_worker bigint, v_units smallint[])
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_doubt record;
    v_found bigint := 0;
BEGIN
    PERFORM 1 FROM deskload.run JOIN deskload.rows r ON r.run = run.id
        WHERE run.account = v_account AND run.rows > applied + failed + invalid + in_doubt + skipped
            AND r.state = 0 AND (r.worker = v_worker OR r.unit = ANY (v_units))
        ORDER BY r.run, r.number FOR UPDATE OF r;
    FOR v_doubt IN
        WITH done AS (
            UPDATE deskload.rows r SET state = 5, reason = 'interrupted', http_status = NULL,
                message = 'the worker ended, or was cut off, before the desk''s answer was recorded'
            FROM deskload.run
            WHERE run.account = v_account AND run.rows > applied + failed + invalid + in_doubt + skipped
                AND r.run = run.id AND r.state = 0 AND (r.worker = v_worker OR r.unit = ANY (v_units))
            RETURNING r.run
        )
        SELECT run, count(*) AS rows FROM done GROUP BY run ORDER BY run
    LOOP
        PERFORM deskload.count_up(v_doubt.run, jsonb_build_object('5', v_doubt.rows));
        v_found := v_found + v_doubt.rows;
    END LOOP;
    RETURN v_found;
END $$;

-- A worker is there: renews its leases, gives back what is more than its share, takes what is free. A unit that is
-- taken from another worker may have rows on their way: they are in doubt from now on, in this very transaction.
CREATE FUNCTION deskload.keep(v_worker bigint, v_term bigint) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_account bigint;
    v_now     bigint;
    v_live    bigint;
    v_share   bigint;
    v_mine    bigint;
    v_taken   smallint[];
    v_found   bigint := 0;
BEGIN
    UPDATE deskload.worker SET seen = deskload.now_us() WHERE id = v_worker RETURNING account INTO v_account;
    IF v_account IS NULL THEN
        PERFORM deskload.not_known();
    END IF;
    PERFORM 1 FROM deskload.unit WHERE account = v_account AND worker = v_worker ORDER BY unit FOR UPDATE;
    v_now := deskload.now_us();
    -- Who has been silent for two renewals has no share any more: others may have it as soon as the leases end.
    SELECT count(*) INTO v_live FROM deskload.worker WHERE account = v_account AND seen > v_now - v_term / 2;
    SELECT ceil(count(*)::numeric / greatest(v_live, 1)) INTO v_share FROM deskload.unit WHERE account = v_account;
    UPDATE deskload.unit SET until = v_now + v_term WHERE account = v_account AND worker = v_worker;
    GET DIAGNOSTICS v_mine = ROW_COUNT;
    IF v_mine > v_share THEN
        UPDATE deskload.unit SET worker = NULL, until = 0 WHERE account = v_account AND unit IN (
            SELECT u.unit FROM deskload.unit u WHERE u.account = v_account AND u.worker = v_worker
                AND NOT EXISTS (SELECT FROM deskload.account a JOIN deskload.rows r ON r.run = a.run
                    WHERE a.id = v_account AND r.unit = u.unit AND r.state = 0)
            ORDER BY u.unit DESC LIMIT v_mine - v_share);
    ELSIF v_mine < v_share THEN
        v_taken := ARRAY(SELECT unit FROM deskload.unit
            WHERE account = v_account AND (worker IS NULL OR until < v_now)
            ORDER BY unit LIMIT v_share - v_mine FOR UPDATE SKIP LOCKED);
        UPDATE deskload.unit SET epoch = epoch + 1, worker = v_worker, until = v_now + v_term
            WHERE account = v_account AND unit = ANY (v_taken);
        v_found := deskload.cut_off(v_account, NULL, v_taken);
    END IF;
    -- The next lease of another that ends; with who is alive it is renewed long before.
    RETURN jsonb_build_object('found', v_found, 'next_end_us', (SELECT min(until) - v_now FROM deskload.unit
            WHERE account = v_account AND worker <> v_worker AND until > v_now),
        'run', (SELECT run FROM deskload.account WHERE id = v_account), 'units', coalesce(
        (SELECT jsonb_agg(jsonb_build_array(unit, epoch) ORDER BY unit) FROM deskload.unit
            WHERE account = v_account AND worker = v_worker), '[]'::jsonb));
END $$;

-- A worker begins, for the account of a desk.
CREATE FUNCTION deskload.join_in(v_account bigint, v_name text, v_resends boolean)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_worker bigint;
BEGIN
    -- Those that have been silent for a week do not come back.
    DELETE FROM deskload.worker WHERE account = v_account AND seen < deskload.now_us() - 7 * 86400000000;
    INSERT INTO deskload.worker (account, name, seen, resends)
        VALUES (v_account, v_name, deskload.now_us(), v_resends) RETURNING id INTO v_worker;
    RETURN v_worker;
END $$;

-- A worker ends, and has nothing on its way, unless a bug has left something: that is in doubt. Its units are free at once.
CREATE FUNCTION deskload.leave(v_worker bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_account bigint;
BEGIN
    SELECT account INTO v_account FROM deskload.worker WHERE id = v_worker FOR UPDATE;
    PERFORM 1 FROM deskload.unit WHERE account = v_account AND worker = v_worker ORDER BY unit FOR UPDATE;
    PERFORM deskload.cut_off(v_account, v_worker, NULL);
    UPDATE deskload.unit SET worker = NULL, until = 0 WHERE worker = v_worker;
    DELETE FROM deskload.worker WHERE id = v_worker;
END $$;

-- Whether a worker of the account is alive, and has a share of its tickets.
CREATE FUNCTION deskload.is_at_work(v_account bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM deskload.unit WHERE account = v_account AND until > deskload.now_us())
$$;

-- Whether a row in doubt is with a worker that sends such rows again: it waits for its turn, and is not on its way yet. One
-- that is not going to be sent after all is so, too, until that worker leaves, which it does at once.
CREATE FUNCTION deskload.is_resent(v_account bigint, v_run bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM deskload.unit JOIN deskload.worker ON worker.id = unit.worker AND resends
        JOIN deskload.rows ON rows.run = v_run AND rows.unit = unit.unit AND state = 5
        WHERE unit.account = v_account AND until > deskload.now_us())
$$;

-- Whether a run has a row that is on its way, or one that may go; those named rest.
CREATE FUNCTION deskload.is_left(v_run bigint, v_resting bigint[]) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM deskload.rows WHERE run = v_run AND state = 0)
        OR EXISTS (SELECT FROM deskload.run JOIN deskload.rows p ON p.run = run.id
            WHERE run.id = v_run AND p.state = 2 AND p.number <> ALL (v_resting)
                AND deskload.waits(run.account, p) IS NULL)
$$;

-- Whether workers are at work on this run of the account: what of it may still be sent is theirs.
CREATE FUNCTION deskload.is_worked_on(v_account bigint, v_run bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT deskload.is_at_work(v_account)
        AND (deskload.is_left(v_run, '{}') OR deskload.is_resent(v_account, v_run))
$$;

-- Makes a run the one that the account's workers work on. False: they are at work on another one.
CREATE FUNCTION deskload.activate(v_run bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_account bigint;
    v_before  bigint;
BEGIN
    SELECT account INTO STRICT v_account FROM deskload.run WHERE id = v_run;
    SELECT run INTO v_before FROM deskload.account WHERE id = v_account FOR NO KEY UPDATE;
    IF v_before <> v_run AND deskload.is_worked_on(v_account, v_before) THEN
        RETURN false;
    END IF;
    UPDATE deskload.account SET run = v_run WHERE id = v_account;
    RETURN true;
END $$;
