-- The journal on PostgreSQL. Everything that must hold together is one function, and so one transaction and one round
-- trip, whichever session of a pooler it meets. All time is this database's clock_timestamp(), in microseconds.
--
-- The numbers of states are those of SQLite's journal: 0 sending, 1 applied, 2 pending, 3 failed, 4 invalid,
-- 5 in doubt, 6 skipped.
--
-- Order of locks, the same everywhere: worker, units (ascending), rows (ascending), account, run.

CREATE SCHEMA deskload;

-- One row. A changed timeline or system identifier means that another server has taken over, which may have forgotten
-- intents: nothing is permitted until a person has confirmed it.
CREATE TABLE deskload.journal (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    version  integer NOT NULL,
    uuid     text    NOT NULL,
    instance text    NOT NULL
);

-- A desk: one URL and one account. Whoever gives permits holds its lock, so that they are given one after the other.
CREATE TABLE deskload.account (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url          text   NOT NULL,
    email        text   NOT NULL,
    run          bigint,                    -- the one that workers work on
    paused_until bigint NOT NULL DEFAULT 0, -- the desk asked for a pause
    UNIQUE (url, email)
);

-- When each rate's bucket is full again, were nothing more to leave.
CREATE TABLE deskload.bucket (
    account   bigint NOT NULL REFERENCES deskload.account,
    period_us bigint NOT NULL,
    full_at   bigint NOT NULL,
    PRIMARY KEY (account, period_us)
);

-- What may have left, counted by the second or by a coarser slot, at the slot's end.
CREATE TABLE deskload.spent (
    account  bigint NOT NULL REFERENCES deskload.account,
    until    bigint NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (account, until)
);

CREATE TABLE deskload.run (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account       bigint NOT NULL REFERENCES deskload.account,
    rows          bigint NOT NULL CHECK (rows >= 0),
    sha256        text   NOT NULL,
    bytes         bigint NOT NULL,
    path          text,
    layout        text   NOT NULL, -- JSON
    mapping       text   NOT NULL, -- JSON
    custom_fields text   NOT NULL, -- JSON
    header        text,            -- JSON: the cells of a CSV's first line
    applied       bigint NOT NULL DEFAULT 0 CHECK (applied >= 0),
    failed        bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
    invalid       bigint NOT NULL DEFAULT 0 CHECK (invalid >= 0),
    in_doubt      bigint NOT NULL DEFAULT 0 CHECK (in_doubt >= 0),
    skipped       bigint NOT NULL DEFAULT 0 CHECK (skipped >= 0),
    attempts      bigint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    throttled     bigint NOT NULL DEFAULT 0 CHECK (throttled >= 0),
    started_ms    bigint NOT NULL,
    ended_ms      bigint,
    exit_code     integer
);
-- The processes that worked on a run.
CREATE TABLE deskload.invocation (
    run       bigint  NOT NULL REFERENCES deskload.run,
    number    integer NOT NULL,
    again     text    NOT NULL,
    pace      text    NOT NULL,
    began_ms  bigint  NOT NULL,
    ended_ms  bigint,          -- NULL: it is at work, or was killed
    exit_code integer,
    said      text,
    PRIMARY KEY (run, number)
);
CREATE INDEX run_input ON deskload.run (sha256);

CREATE TABLE deskload.rows (
    run         bigint   NOT NULL REFERENCES deskload.run,
    number      bigint   NOT NULL,
    unit        smallint NOT NULL,           -- by the ticket, fixed when it was staged
    state       smallint NOT NULL,
    permit      integer  NOT NULL DEFAULT 0, -- counts permits, and never goes back: outcomes are fenced by it
    attempts    integer  NOT NULL DEFAULT 0, -- requests made
    worker      bigint,                      -- whose the last permit is
    ticket      bigint,                      -- NULL: the row is invalid
    fields      bytea,                       -- which fields it sets: bits
    same        bytea,                       -- equal where another row asks the same of the same ticket
    body        text,                        -- JSON; personal data, removed once the row is applied or skipped
    reason      text,
    message     text,
    http_status smallint,
    PRIMARY KEY (run, number)
);
CREATE INDEX rows_ticket ON deskload.rows (run, ticket, number);
CREATE INDEX rows_open ON deskload.rows (run, state, number) INCLUDE (unit) WHERE state NOT IN (1, 6);
CREATE INDEX rows_doubt ON deskload.rows (ticket) WHERE state = 5;

-- Who works. It is thought alive while it has been seen within the term of a lease.
CREATE TABLE deskload.worker (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bigint NOT NULL REFERENCES deskload.account,
    name    text   NOT NULL,
    seen    bigint NOT NULL,
    batch   bigint NOT NULL DEFAULT 0 -- the last one that was taken in
);

-- Leases. A ticket's rows are in one unit, so one worker at a time sends them.
CREATE TABLE deskload.unit (
    account bigint   NOT NULL REFERENCES deskload.account,
    unit    smallint NOT NULL,
    epoch   bigint   NOT NULL DEFAULT 0, -- grows with each lease
    worker  bigint,                      -- NULL: free
    until   bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (account, unit)
);

CREATE FUNCTION deskload.now_us() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Which server this is, and how often another one was promoted in its place. A standby has no answer, only an error.
CREATE FUNCTION deskload.instance() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
$$;

-- What keeps a pending row from going: an earlier row of its ticket that is not settled, or the same update in doubt in
-- another run. NULL: nothing.
CREATE FUNCTION deskload.waits(v_account bigint, v_run bigint, v_number bigint, v_ticket bigint, v_same bytea)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM deskload.rows e WHERE e.run = v_run AND e.ticket = v_ticket
                         AND e.number < v_number AND e.state IN (0, 2, 5)) THEN 'earlier'
        WHEN EXISTS (SELECT FROM deskload.rows d JOIN deskload.run ON run.id = d.run
                         WHERE d.ticket = v_ticket AND d.state = 5 AND d.same = v_same AND d.run <> v_run
                             AND run.account = v_account) THEN 'same'
    END
$$;

-- Notes that a process has begun to work on a run; gives its number.
CREATE FUNCTION deskload.begin_invocation(v_run bigint, v_again text, v_pace text, v_now_ms bigint)
RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_number integer;
BEGIN
    UPDATE deskload.run SET ended_ms = NULL, exit_code = NULL WHERE id = v_run;
    INSERT INTO deskload.invocation (run, number, again, pace, began_ms)
        SELECT v_run, coalesce(max(number), 0) + 1, v_again, v_pace, v_now_ms FROM deskload.invocation WHERE run = v_run
        RETURNING number INTO v_number;
    RETURN v_number;
END $$;

-- Adds to a run's counters, and gives how its rows stand then.
CREATE FUNCTION deskload.count_up(v_run bigint, d jsonb) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    UPDATE deskload.run SET
        applied   = applied   + coalesce((d->>'1')::bigint, 0),
        failed    = failed    + coalesce((d->>'3')::bigint, 0),
        invalid   = invalid   + coalesce((d->>'4')::bigint, 0),
        in_doubt  = in_doubt  + coalesce((d->>'5')::bigint, 0),
        skipped   = skipped   + coalesce((d->>'6')::bigint, 0),
        attempts  = attempts  + coalesce((d->>'attempts')::bigint, 0),
        throttled = throttled + coalesce((d->>'throttled')::bigint, 0)
    WHERE id = v_run
    RETURNING jsonb_build_object('rows', rows, 'applied', applied, 'failed', failed, 'invalid', invalid,
        'in_doubt', in_doubt, 'skipped', skipped,
        'pending', rows - applied - failed - invalid - in_doubt - skipped)
$$;

-- A batch of the pipeline: outcomes, unused permits, and rows that want permits. All of it or nothing.
CREATE FUNCTION deskload.take_in(b jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_run      bigint := (b->>'run')::bigint;
    v_worker   bigint := (b->>'worker')::bigint;
    v_account  bigint;
    v_active   boolean;
    v_paused   bigint;
    v_known    boolean;
    v_rates    jsonb  := b->'rates';
    v_count    integer := jsonb_array_length(b->'rates');
    v_full     bigint[] := '{}';
    v_room     bigint[] := '{}';
    v_free     bigint[] := '{}';
    v_now      bigint;
    v_first    bigint;
    v_due      bigint;
    v_ask      bigint;
    v_sum      bigint;
    v_window   bigint;
    v_slot     bigint := (b->>'slot_us')::bigint;
    v_permit   integer;
    v_attempts integer;
    v_why      text;
    v_newer    boolean;
    v_permits  jsonb := '[]';
    v_refused  jsonb := '[]';
    v_delta    jsonb := '{}';
    v_tally    record;
    v_counts   jsonb;
    v_given    bigint := 0;
    v_last_due bigint;
    w          record;
BEGIN
    SELECT run.account INTO STRICT v_account FROM deskload.run WHERE id = v_run;
    SELECT instance = deskload.instance() INTO STRICT v_known FROM deskload.journal;

    -- 0. A batch that was held up on its way, and whose worker has gone on without it, must not do anything any more.
    UPDATE deskload.worker SET batch = (b->>'batch')::bigint, seen = deskload.now_us()
        WHERE id = v_worker AND batch < (b->>'batch')::bigint;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this batch comes too late' USING ERRCODE = 'DL001';
    END IF;

    -- 1. Locks. A unit's lock is shared: a take-over waits for this batch, or this batch sees the take-over.
    PERFORM 1 FROM deskload.unit WHERE account = v_account
        AND unit.unit IN (SELECT (e.v->>1)::smallint FROM jsonb_array_elements(b->'wanted') AS e(v))
        ORDER BY unit.unit FOR SHARE;
    PERFORM 1 FROM deskload.rows WHERE run = v_run AND number IN (
            SELECT n FROM jsonb_to_recordset(b->'outcomes') AS o(n bigint)
            UNION SELECT n FROM jsonb_to_recordset(b->'back') AS o(n bigint)
            UNION SELECT e.v::bigint FROM jsonb_array_elements(b->'lost') AS e(v)
            UNION SELECT (e.v->>0)::bigint FROM jsonb_array_elements(b->'wanted') AS e(v))
        ORDER BY number FOR UPDATE;

    -- 2. What became of permits. The fence is the permit's number; a row that a take-over has called in doubt since
    --    is settled by its own outcome all the same, because that is what is known of it now.
    WITH given AS (
        SELECT n, p, s, r, m, h, coalesce(gone, 0) AS gone, coalesce(thr, 0) AS thr
            FROM jsonb_to_recordset(b->'outcomes')
            AS o(n bigint, p integer, s smallint, r text, m text, h smallint, gone integer, thr integer)
        UNION ALL SELECT n, p, 2::smallint, NULL, NULL, NULL, 1, 0
            FROM jsonb_to_recordset(b->'back') AS o(n bigint, p integer)
        -- Permits of a batch whose answer was lost: they were never used.
        UNION ALL SELECT number, permit, 2::smallint, NULL, NULL, NULL, 1, 0 FROM deskload.rows
            WHERE run = v_run AND worker = v_worker
                AND number IN (SELECT e.v::bigint FROM jsonb_array_elements(b->'lost') AS e(v))
    ), done AS (
        UPDATE deskload.rows r SET
            state = given.s, attempts = r.attempts - given.gone,
            reason = CASE WHEN given.gone = 1 THEN r.reason ELSE given.r END,
            message = CASE WHEN given.gone = 1 THEN r.message ELSE given.m END,
            http_status = CASE WHEN given.gone = 1 THEN r.http_status ELSE given.h END,
            body = CASE WHEN given.s IN (1, 6) THEN NULL ELSE r.body END
        FROM given JOIN deskload.rows old ON old.run = v_run AND old.number = given.n
        WHERE r.run = v_run AND r.number = given.n AND r.permit = given.p AND r.worker = v_worker
            AND r.state IN (0, 5) AND old.state IN (0, 5)
        RETURNING old.state AS was, r.state AS became, given.gone, given.thr
    )
    SELECT coalesce(sum((became = 1)::int), 0) AS applied, coalesce(sum((became = 3)::int), 0) AS failed,
           coalesce(sum((became = 5)::int - (was = 5)::int), 0) AS in_doubt,
           coalesce(sum(gone), 0) AS gone, coalesce(sum(thr), 0) AS thr
        INTO v_tally FROM done;

    -- 3. Permits.
    IF jsonb_array_length(b->'wanted') > 0 OR (b->>'pause_us')::bigint > 0 THEN
        SELECT run IS NOT DISTINCT FROM v_run, paused_until INTO v_active, v_paused
            FROM deskload.account WHERE id = v_account FOR UPDATE;
        IF (b->>'pause_us')::bigint > 0 THEN
            v_paused := greatest(v_paused, deskload.now_us() + (b->>'pause_us')::bigint);
            UPDATE deskload.account SET paused_until = v_paused WHERE id = v_account;
        END IF;
        v_now := deskload.now_us();
        -- The answer takes so long to get there; a permit for before that would come late.
        v_first := v_now + (b->>'reply_us')::bigint;
        FOR i IN 0..v_count - 1 LOOP
            v_full := v_full || coalesce((SELECT full_at FROM deskload.bucket
                WHERE account = v_account AND period_us = (v_rates->i->>'period_us')::bigint), 0);
            v_window := (v_rates->i->>'window_us')::bigint;
            IF v_window = 0 THEN
                v_room := v_room || 9223372036854775807;
                v_free := v_free || 0::bigint;
                CONTINUE;
            END IF;
            SELECT coalesce(sum(requests), 0) INTO v_sum FROM deskload.spent
                WHERE account = v_account AND until > v_now - v_window;
            v_room := v_room || (v_rates->i->>'count')::bigint - v_sum;
            -- When the oldest that count have stopped counting, so that there is room for one.
            v_free := v_free || coalesce((SELECT min(until) + v_window FROM (
                SELECT until, sum(requests) OVER (ORDER BY until DESC) - requests AS later FROM deskload.spent
                    WHERE account = v_account AND until > v_now - v_window) s
                WHERE later < (v_rates->i->>'count')::bigint), 0);
        END LOOP;
        v_newer := EXISTS (SELECT FROM deskload.run
            WHERE account = v_account AND id > v_run AND applied + in_doubt > 0);

        FOR w IN SELECT (e.v->>0)::bigint AS n, (e.v->>1)::smallint AS u, (e.v->>2)::bigint AS epoch
                FROM jsonb_array_elements(b->'wanted') WITH ORDINALITY AS e(v, i) ORDER BY e.i LOOP
            v_why := NULL;
            IF v_ask IS NULL AND v_known THEN
                v_due := greatest(v_first, v_paused);
                FOR i IN 1..v_count LOOP
                    v_due := greatest(v_due, v_full[i] - (v_rates->(i - 1)->>'depth_us')::bigint);
                    IF v_room[i] <= v_given THEN v_due := greatest(v_due, v_free[i]); END IF;
                END LOOP;
                IF v_due > v_first + (b->>'ahead_us')::bigint THEN v_ask := v_due; END IF;
            END IF;
            IF NOT v_known OR v_ask IS NOT NULL THEN
                v_refused := v_refused || jsonb_build_array(jsonb_build_array(w.n, 'spent'));
                CONTINUE;
            END IF;
            -- The lease must last until the request has begun; one that ends while it is under way only makes a doubt.
            SELECT CASE
                WHEN NOT v_active OR unit.worker IS DISTINCT FROM v_worker OR unit.epoch <> w.epoch
                    OR unit.until < v_due + 2000000 THEN 'lease'
                WHEN r.state <> 2 THEN 'settled'
                WHEN v_newer AND EXISTS (SELECT FROM deskload.run JOIN deskload.rows l ON l.run = run.id
                    WHERE run.account = v_account AND run.id > v_run AND l.ticket = r.ticket
                        AND l.state IN (0, 1, 5)) THEN 'overtaken'
                ELSE deskload.waits(v_account, v_run, r.number, r.ticket, r.same)
                END INTO v_why
                FROM deskload.rows r JOIN deskload.unit ON unit.account = v_account AND unit.unit = r.unit
                WHERE r.run = v_run AND r.number = w.n;
            IF v_why = 'overtaken' THEN
                UPDATE deskload.rows SET state = 3, reason = 'overlapped', http_status = NULL,
                    message = 'a newer run has updated this ticket since; look at it, then send the row in a new file'
                    WHERE run = v_run AND number = w.n;
                v_tally.failed := v_tally.failed + 1;
            END IF;
            IF v_why IS NOT NULL THEN
                v_refused := v_refused || jsonb_build_array(jsonb_build_array(w.n, v_why));
                CONTINUE;
            END IF;
            UPDATE deskload.rows SET state = 0, permit = permit + 1, attempts = attempts + 1, worker = v_worker
                WHERE run = v_run AND number = w.n RETURNING permit, attempts INTO v_permit, v_attempts;
            FOR i IN 1..v_count LOOP
                v_full[i] := greatest(v_full[i], v_due) + (v_rates->(i - 1)->>'period_us')::bigint;
            END LOOP;
            v_given := v_given + 1;
            v_last_due := v_due;
            v_permits := v_permits || jsonb_build_array(jsonb_build_array(w.n, v_permit, v_attempts, v_due));
        END LOOP;

        IF v_given > 0 AND v_count > 0 THEN
            FOR i IN 1..v_count LOOP
                INSERT INTO deskload.bucket (account, period_us, full_at)
                    VALUES (v_account, (v_rates->(i - 1)->>'period_us')::bigint, v_full[i])
                    ON CONFLICT (account, period_us) DO UPDATE SET full_at = excluded.full_at;
            END LOOP;
            -- By then they have left: no permit is used that is more than 100 ms late.
            INSERT INTO deskload.spent AS s (account, until, requests)
                VALUES (v_account, ((v_last_due + 100000) / v_slot + 1) * v_slot, v_given)
                ON CONFLICT (account, until) DO UPDATE SET requests = s.requests + excluded.requests
                RETURNING requests INTO v_sum;
            IF v_sum = v_given THEN
                DELETE FROM deskload.spent WHERE account = v_account AND until < v_now - (b->>'kept_us')::bigint;
            END IF;
        END IF;
    ELSE
        SELECT paused_until INTO v_paused FROM deskload.account WHERE id = v_account;
        v_now := deskload.now_us();
    END IF;

    v_counts := deskload.count_up(v_run, jsonb_build_object('1', v_tally.applied, '3', v_tally.failed,
        '5', v_tally.in_doubt, 'attempts', v_given - v_tally.gone, 'throttled', v_tally.thr));
    RETURN jsonb_build_object('now', v_now, 'known', v_known, 'permits', v_permits, 'refused', v_refused,
        'ask', v_ask, 'paused', greatest(v_paused - v_now, 0), 'counts', v_counts);
END $$;

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
        -- It was thought dead for long, and forgotten.
        RAISE EXCEPTION 'this worker has been forgotten' USING ERRCODE = 'DL002';
    END IF;
    PERFORM 1 FROM deskload.unit WHERE account = v_account AND worker = v_worker ORDER BY unit FOR UPDATE;
    v_now := deskload.now_us();
    SELECT count(*) INTO v_live FROM deskload.worker WHERE account = v_account AND seen > v_now - v_term;
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
    RETURN jsonb_build_object('found', v_found, 'units', coalesce(
        (SELECT jsonb_agg(jsonb_build_array(unit, epoch) ORDER BY unit) FROM deskload.unit
            WHERE account = v_account AND worker = v_worker), '[]'::jsonb));
END $$;

-- A worker begins, for the account of a desk.
CREATE FUNCTION deskload.join_in(v_account bigint, v_name text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_worker bigint;
BEGIN
    -- Those that have been silent for a week do not come back.
    DELETE FROM deskload.worker WHERE account = v_account AND seen < deskload.now_us() - 7 * 86400000000;
    INSERT INTO deskload.worker (account, name, seen) VALUES (v_account, v_name, deskload.now_us())
        RETURNING id INTO v_worker;
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

-- Makes a run the one that the account's workers work on. False: they are at work on another one.
CREATE FUNCTION deskload.activate(v_run bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_account bigint;
    v_before  bigint;
BEGIN
    SELECT account INTO STRICT v_account FROM deskload.run WHERE id = v_run;
    SELECT run INTO v_before FROM deskload.account WHERE id = v_account FOR UPDATE;
    IF v_before IS DISTINCT FROM v_run AND v_before IS NOT NULL AND deskload.is_left(v_before, '{}')
        AND EXISTS (SELECT FROM deskload.unit WHERE account = v_account AND until > deskload.now_us()) THEN
        RETURN false;
    END IF;
    UPDATE deskload.account SET run = v_run WHERE id = v_account;
    RETURN true;
END $$;

-- Whether a run has a row that is on its way, or one that may go; those named rest.
CREATE FUNCTION deskload.is_left(v_run bigint, v_resting bigint[]) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM deskload.rows WHERE run = v_run AND state = 0)
        OR EXISTS (SELECT FROM deskload.run JOIN deskload.rows p ON p.run = run.id
            WHERE run.id = v_run AND p.state = 2 AND p.number <> ALL (v_resting)
                AND deskload.waits(run.account, v_run, p.number, p.ticket, p.same) IS NULL)
$$;

-- A person's word on rows in doubt; `v_ranges` is JSON, pairs of first and last, or NULL for all of them. Gives how many
-- were settled, or, where a range names a row that is not in doubt, the first such row, and settles nothing.
CREATE FUNCTION deskload.resolve(v_run bigint, v_state integer, v_message text, v_ranges jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_all   bigint[];
    v_found bigint[];
    v_odd   bigint;
    e       record;
BEGIN
    v_all := ARRAY(SELECT number FROM deskload.rows WHERE run = v_run AND state = 5 ORDER BY number FOR UPDATE);
    IF v_ranges IS NULL THEN
        v_found := v_all;
    ELSE
        FOR e IN SELECT (r.v->>0)::bigint AS low, (r.v->>1)::bigint AS high
                FROM jsonb_array_elements(v_ranges) WITH ORDINALITY AS r(v, i) ORDER BY r.i LOOP
            IF NOT e.low = ANY (v_all) THEN
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
    RETURN jsonb_build_object('settled', coalesce(cardinality(v_found), 0));
END $$;

-- Makes failed rows pending again, but for those whose ticket has had a later row since: newer data is not overwritten.
CREATE FUNCTION deskload.retry(v_run bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_rows bigint;
BEGIN
    PERFORM 1 FROM deskload.rows WHERE run = v_run AND state = 3 ORDER BY number FOR UPDATE;
    UPDATE deskload.rows r SET state = 2 FROM deskload.run
        WHERE run.id = v_run AND r.run = v_run AND r.state = 3
            AND NOT EXISTS (SELECT FROM deskload.rows l WHERE l.run = v_run AND l.ticket = r.ticket
                AND l.number > r.number AND l.state IN (0, 1, 5))
            AND NOT EXISTS (SELECT FROM deskload.run newer JOIN deskload.rows l ON l.run = newer.id
                WHERE newer.account = run.account AND newer.id > v_run AND l.ticket = r.ticket
                    AND l.state IN (0, 1, 5));
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM deskload.count_up(v_run, jsonb_build_object('3', -v_rows));
    RETURN v_rows;
END $$;
