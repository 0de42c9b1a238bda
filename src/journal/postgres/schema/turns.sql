-- Whether a pending row may go: the order within its ticket, doubts elsewhere, and newer data that must not be overwritten.

-- Never overwrite newer data: what stands against sending a row whose like stood at a place, after all that came later
-- for its ticket, in the order of the files. `why` is: superseded (all of its fields were set since), overlapped (some were)
-- or later (one that came later is not settled). NULL: nothing. The rows of one run can be left out. A row that was
-- unchanged asks for its values no less for having found them there.
CREATE FUNCTION deskload.later(v_account bigint, v_run bigint, v_number bigint, v_except bigint, r deskload.rows)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH came AS (
        SELECT l.run, l.number, l.state, l.asks FROM deskload.run JOIN deskload.rows l ON l.run = run.id
            WHERE run.account = v_account AND run.id >= v_run AND run.id IS DISTINCT FROM v_except
                AND l.ticket = r.ticket AND (l.run, l.number) > (v_run, v_number)
                AND (l.state IN (0, 1, 5) OR l.state = 6 AND l.reason = 'unchanged')
    ), place AS (
        SELECT 'later' AS why, run, number FROM (
            SELECT run, number FROM came WHERE state IN (0, 5) ORDER BY run, number LIMIT 1) AS open
        UNION ALL
        SELECT CASE WHEN count(*) OVER () = (SELECT count(*) FROM jsonb_object_keys(r.asks))
                THEN 'superseded' ELSE 'overlapped' END, run, number FROM (
            SELECT DISTINCT ON (field) field, run, number FROM came, jsonb_object_keys(asks) AS field
                WHERE state IN (1, 6) AND r.asks ? field ORDER BY field, run DESC, number DESC) AS set
    )
    SELECT jsonb_build_object('why', why, 'run', run, 'row', number) FROM place
        ORDER BY why <> 'later', run DESC, number DESC LIMIT 1
$$;

-- The same for a row of a run: for most rows there is nothing to look up, because they go in their turn. Three kinds do
-- not: a failed row that is retried, a row of a result file that comes back, and any row of a run that goes on after a newer
-- one has done something.
CREATE FUNCTION deskload.against(v_account bigint, r deskload.rows) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    o       deskload.rows;
    v_why   text;
    v_found jsonb;
BEGIN
    IF r.origin_run < r.run AND EXISTS (SELECT FROM deskload.run WHERE id = r.origin_run AND account = v_account) THEN
        SELECT * INTO o FROM deskload.rows WHERE run = r.origin_run AND number = r.origin_row;
        v_why := CASE
            WHEN o.state = 5 THEN 'later'
            -- All that it asks for has been settled there since, or is going to be.
            WHEN o.ticket = r.ticket AND r.asks <@ o.asks AND o.state IN (1, 6) THEN 'superseded'
            WHEN o.ticket = r.ticket AND r.asks <@ o.asks AND o.state IN (0, 2) THEN 'later'
            END;
        IF v_why IS NOT NULL THEN
            RETURN jsonb_build_object('why', v_why, 'run', o.run, 'row', o.number);
        END IF;
        v_found := deskload.later(v_account, r.origin_run, r.origin_row, r.run, r);
        IF v_found IS NOT NULL THEN
            RETURN v_found;
        END IF;
    END IF;
    IF r.retried THEN
        RETURN deskload.later(v_account, r.run, r.number, NULL, r);
    END IF;
    -- All others keep the order of their own file.
    IF EXISTS (SELECT FROM deskload.run
            WHERE account = v_account AND id > r.run AND applied + in_doubt + coalesce(unchanged, 0) > 0) THEN
        RETURN deskload.later(v_account, r.run, 9223372036854775807, NULL, r);
    END IF;
    RETURN NULL;
END $$;

-- What keeps a pending row from going: an earlier row of its ticket that is not settled, or the same update in doubt in
-- another run. NULL: nothing. (`+ 0`: by the index of tickets, not by that of all open rows.)
CREATE FUNCTION deskload.waits(v_account bigint, r deskload.rows) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM deskload.rows e WHERE e.run = r.run AND e.ticket = r.ticket
                         AND e.number < r.number AND e.state + 0 IN (0, 2, 5)) THEN 'earlier'
        WHEN EXISTS (SELECT FROM deskload.rows d JOIN deskload.run ON run.id = d.run
                         WHERE d.ticket = r.ticket AND d.state + 0 = 5 AND d.same = r.same AND d.run <> r.run
                             AND run.account = v_account) THEN 'same'
        WHEN deskload.against(v_account, r)->>'why' = 'later' THEN 'later'
    END
$$;
