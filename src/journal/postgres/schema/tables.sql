-- The journal on PostgreSQL. Everything that must hold together is one function, and so one transaction and one round
-- trip, whichever session of a pooler it meets. All time is this database's clock_timestamp(), in microseconds.
--
-- The numbers of states are those of SQLite's journal: 0 sending, 1 applied, 2 pending, 3 failed, 4 invalid,
-- 5 in doubt, 6 skipped.
--
-- Order of locks, the same everywhere: worker, units (ascending), rows (ascending), account, run, its minutes (ascending).

CREATE SCHEMA deskload;

-- One row. Another instance means that another server has taken over, or that this is a copy or was put back from one,
-- which may have forgotten intents: nothing is permitted until a person has confirmed it.
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
    succeeded_ms bigint,                    -- UNIX time: when an invocation last ended with exit 0
    -- As in pace/slowdown.rs: the desk said "later", so that only so many eighths of the pace are used; since when, how
    -- many rows have gone through since, and when the next request may leave.
    slow_parts   bigint NOT NULL DEFAULT 8,
    slow_since   bigint NOT NULL DEFAULT 0,
    slow_passed  bigint NOT NULL DEFAULT 0,
    slow_next    bigint NOT NULL DEFAULT 0,
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

-- The same by ticket, of what was sent while each ticket had a limit; an entry is of use for as long as it says.
CREATE TABLE deskload.spent_by_ticket (
    account   bigint NOT NULL REFERENCES deskload.account,
    ticket    bigint NOT NULL,
    until     bigint NOT NULL,
    requests  bigint NOT NULL,
    counts_us bigint NOT NULL,
    PRIMARY KEY (account, ticket, until)
);
CREATE INDEX spent_by_ticket_end ON deskload.spent_by_ticket (account, (until + counts_us));

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
    unchanged     bigint,                    -- skipped as such when it began; NULL: begun without --only-changed
    permits       bigint NOT NULL DEFAULT 0, -- given so far; never goes back
    started_ms    bigint NOT NULL,
    ended_ms      bigint,
    exit_code     integer,
    pruned_ms     bigint           -- UNIX time: when its rows were given up
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
-- Samples, as in minutes.rs: what all workers did in a minute, by this database's clock. Nothing is decided by them.
CREATE TABLE deskload.minute (
    run        bigint NOT NULL REFERENCES deskload.run,
    minute     bigint NOT NULL, -- UNIX time / 60
    applied    bigint NOT NULL, -- below zero where rows left a state: a doubt that was settled by its own outcome, say
    failed     bigint NOT NULL,
    in_doubt   bigint NOT NULL,
    throttled  bigint NOT NULL,
    paused_ms  bigint NOT NULL,
    away_ms    bigint NOT NULL,
    per_second double precision,
    latencies  bigint[] NOT NULL,
    PRIMARY KEY (run, minute)
);
CREATE INDEX run_input ON deskload.run (sha256);

-- Without a foreign key: a run's rows come in the transaction that makes it, and to look it up for each was half of the
-- time that they take.
CREATE TABLE deskload.rows (
    run         bigint   NOT NULL,
    number      bigint   NOT NULL,
    unit        smallint NOT NULL,           -- by the ticket, fixed when it was staged
    state       smallint NOT NULL,
    permit      integer  NOT NULL DEFAULT 0, -- counts permits, and never goes back: outcomes are fenced by it
    attempts    integer  NOT NULL DEFAULT 0, -- requests made
    worker      bigint,                      -- whose the last permit is
    ticket      bigint,                      -- NULL: the row is invalid
    asks        jsonb,                       -- a digest of what it asks for, by field
    origin_run  bigint,                      -- where the row of a result file was before
    origin_row  bigint,
    retried     boolean  NOT NULL DEFAULT false, -- a person asked to send it again after it had failed
    same        bytea,                       -- equal where another row asks the same of the same ticket
    body        text,                        -- JSON; personal data, removed once the row is applied or skipped
    reason      text,
    message     text,
    http_status smallint,
    PRIMARY KEY (run, number)
);
-- Both are for who looks for a ticket, and for nobody else: statistics know nothing of a run that was just taken in, and then
-- a row's number would be looked for in the one, and doubts in general among all open rows.
CREATE INDEX rows_ticket ON deskload.rows (run, ticket, number) WHERE ticket IS NOT NULL;
CREATE INDEX rows_doubt ON deskload.rows (ticket) WHERE state + 0 = 5;
CREATE INDEX rows_open ON deskload.rows (run, state, number) INCLUDE (unit) WHERE state NOT IN (1, 6);

-- Who works. It is thought alive while it has been seen within the term of a lease.
CREATE TABLE deskload.worker (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bigint NOT NULL REFERENCES deskload.account,
    name    text   NOT NULL,
    seen    bigint NOT NULL,
    resends boolean NOT NULL,          -- a person said that it sends rows in doubt again
    batch   bigint NOT NULL DEFAULT 0  -- the last one that was taken in
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

-- Which server this is, how often another one was promoted in its place, and which database and table these are, which
-- are others once a dump was put back. A standby has no answer, only an error.
CREATE FUNCTION deskload.instance() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws('/', system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (SELECT oid FROM pg_database WHERE datname = current_database()), 'deskload.journal'::regclass::oid)
        FROM pg_control_system()
$$;

CREATE FUNCTION deskload.not_known() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this worker is not known: it was silent for a week, or the database was put back to a time before it'
        USING ERRCODE = 'DL002';
END $$;

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
        throttled = throttled + coalesce((d->>'throttled')::bigint, 0),
        permits   = permits   + coalesce((d->>'permits')::bigint, 0)
    WHERE id = v_run
    RETURNING jsonb_build_object('rows', rows, 'applied', applied, 'failed', failed, 'invalid', invalid,
        'in_doubt', in_doubt, 'skipped', skipped,
        'pending', rows - applied - failed - invalid - in_doubt - skipped)
$$;
