-- Gives up the rows of old runs, but for those that later ones are compared with; the rules and their reasons are at the head
-- of journal/prune.rs. Each step is one transaction. None of them locks an account, a unit or a row that may still be sent, so
-- that workers get their permits meanwhile.

-- How a run stands to a prune: `pruned` by an earlier one, `unfinished`, `in_doubt`, `old` enough to go, `recent`, or
-- `retryable`, which is recent and has failed rows that may still be sent.
CREATE FUNCTION deskload.stands(r deskload.run, v_before_ms bigint) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN r.pruned_ms IS NOT NULL THEN 'pruned'
        WHEN r.rows > r.applied + r.failed + r.invalid + r.in_doubt + r.skipped THEN 'unfinished'
        WHEN r.in_doubt > 0 THEN 'in_doubt'
        -- Its workers have not left yet, or write what they have to tell.
        WHEN NOT EXISTS (SELECT FROM deskload.account WHERE account.run = r.id AND deskload.is_at_work(account.id))
            AND v_before_ms > greatest(r.started_ms, r.ended_ms, (
                -- Who has noted no end was last at work in the last minute.
                SELECT (max(minute) + 1) * 60000 FROM deskload.minute WHERE minute.run = r.id AND EXISTS (
                    SELECT FROM deskload.invocation WHERE invocation.run = r.id AND invocation.ended_ms IS NULL)))
            THEN 'old'
        WHEN r.failed > 0 THEN 'retryable'
        ELSE 'recent'
    END
$$;

-- From now on the run has no rows that could be reported or sent again. False: it is not old any more.
CREATE FUNCTION deskload.give_up(v_run bigint, v_before_ms bigint, v_now_ms bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    r deskload.run;
BEGIN
    SELECT * INTO STRICT r FROM deskload.run WHERE id = v_run FOR UPDATE;
    -- It is so already if this is asked again because the answer was lost.
    IF deskload.stands(r, v_before_ms) NOT IN ('old', 'pruned') THEN
        RETURN false;
    END IF;
    UPDATE deskload.run SET pruned_ms = v_now_ms WHERE id = v_run AND pruned_ms IS NULL;
    DELETE FROM deskload.minute WHERE run = v_run;
    DELETE FROM deskload.invocation WHERE run = v_run;
    RETURN true;
END $$;

-- Of the rows whose tickets lie above one and up to another: those of the runs `v_goes` that go. `v_closed` are the runs that
-- can send nothing any more, these among them. (`OFFSET 0`: run by run, by the index of tickets, whatever else looks cheaper
-- for a table that has just been filled.)
CREATE FUNCTION deskload.goes(v_closed bigint[], v_goes bigint[], v_above bigint, v_up_to bigint)
RETURNS SETOF tid LANGUAGE sql STABLE AS $$
    WITH here AS (
        SELECT r.* FROM unnest(v_closed) AS closed(id), LATERAL (
            SELECT ctid AS place, * FROM deskload.rows
                WHERE run = closed.id AND ticket > v_above AND ticket <= v_up_to ORDER BY ticket, number OFFSET 0) AS r
    ), asked AS (
        -- What was applied, or skipped because its ticket was given it last.
        SELECT place, state,
            row_number() OVER (PARTITION BY ticket, field ORDER BY run DESC, number DESC) = 1 AS is_last,
            row_number() OVER (PARTITION BY ticket, field, state ORDER BY run DESC, number DESC) = 1 AS is_last_of_its_kind
            FROM here, jsonb_object_keys(asks) AS field
            WHERE state = 1 OR state = 6 AND coalesce(reason, '') NOT IN ('resolved', 'superseded', 'already applied')
    )
    SELECT place FROM here WHERE run = ANY (v_goes) AND CASE state
        -- What an unchanged row asks for is known by the applied row before it, which therefore stays as well.
        WHEN 1 THEN place NOT IN (SELECT place FROM asked WHERE is_last_of_its_kind)
        WHEN 3 THEN attempts <= 1 AND reason IS DISTINCT FROM 'overlapped'
        WHEN 6 THEN reason IS DISTINCT FROM 'resolved' AND place NOT IN (SELECT place FROM asked WHERE is_last)
        ELSE false
    END
$$;

-- The next stretch of tickets: removes the rows that go, or only counts them. `v_span` is how many tickets to take; it is given
-- back for the next stretch, such that some 16,384 rows are looked at. `above` is NULL once there are no more.
CREATE FUNCTION deskload.prune_tickets(v_closed bigint[], v_goes bigint[], v_above bigint, v_span bigint, v_dry_run boolean,
    OUT gone bigint, OUT above bigint, OUT span bigint) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_window CONSTANT bigint := 16384;
    v_from   bigint;
    v_rows   bigint;
BEGIN
    gone := 0;
    span := v_span;
    -- Numbers that no row has are passed over.
    SELECT min(ticket) - 1 INTO v_from FROM unnest(v_closed) AS closed(id), LATERAL (
        SELECT ticket FROM deskload.rows WHERE run = closed.id AND ticket > v_above ORDER BY ticket LIMIT 1) AS first;
    IF v_from IS NULL THEN
        RETURN;
    END IF;
    LOOP
        above := v_from + least(span, 9223372036854775807 - greatest(v_from, 0));
        SELECT count(*) INTO v_rows FROM unnest(v_closed) AS closed(id), LATERAL (
            SELECT FROM deskload.rows WHERE run = closed.id AND ticket > v_from AND ticket <= above
                ORDER BY ticket LIMIT v_window + 1) AS counted;
        EXIT WHEN v_rows <= v_window OR span = 1;
        span := span / 2;
    END LOOP;
    IF v_dry_run THEN
        SELECT count(*) INTO gone FROM deskload.goes(v_closed, v_goes, v_from, above);
    ELSE
        DELETE FROM deskload.rows WHERE ctid = ANY (ARRAY(SELECT deskload.goes(v_closed, v_goes, v_from, above)));
        GET DIAGNOSTICS gone = ROW_COUNT;
        -- Of a row that stays, nobody asks for its text any more, nor for what the desk said when it was applied.
        UPDATE deskload.rows SET body = NULL, reason = CASE WHEN state <> 1 THEN reason END,
            message = CASE WHEN state <> 1 THEN message END, http_status = CASE WHEN state <> 1 THEN http_status END
            WHERE ctid = ANY (ARRAY(SELECT place FROM unnest(v_goes) AS goes(id), LATERAL (
                SELECT ctid AS place FROM deskload.rows WHERE run = goes.id AND ticket > v_from AND ticket <= above
                    AND (body IS NOT NULL OR state = 1 AND reason IS NOT NULL) ORDER BY ticket OFFSET 0) AS stays));
    END IF;
    IF v_rows < v_window / 2 THEN
        span := least(span, 4611686018427387903) * 2;
    END IF;
END $$;

-- Rows that are invalid have no ticket. Removes some of them, or counts all.
CREATE FUNCTION deskload.prune_invalid(v_goes bigint[], v_dry_run boolean) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_gone bigint;
BEGIN
    IF v_dry_run THEN
        SELECT count(*) INTO v_gone FROM deskload.rows WHERE run = ANY (v_goes) AND state = 4;
    ELSE
        DELETE FROM deskload.rows WHERE ctid = ANY (ARRAY(SELECT ctid FROM deskload.rows
            WHERE run = ANY (v_goes) AND state = 4 LIMIT 16384));
        GET DIAGNOSTICS v_gone = ROW_COUNT;
    END IF;
    RETURN v_gone;
END $$;
