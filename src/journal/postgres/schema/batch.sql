-- A batch of the pipeline: outcomes in, permits out.

-- Half the pace if the desk has said "later", and step by step back to all of it; the account's lock is held. Gives the
-- eighths, and when the next request may leave.
CREATE FUNCTION deskload.slow_down(v_account bigint, v_later boolean, v_pause bigint, v_passed bigint,
    OUT parts bigint, OUT next bigint) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    a     deskload.account;
    v_now bigint := deskload.now_us();
BEGIN
    SELECT * INTO a FROM deskload.account WHERE id = v_account;
    parts := a.slow_parts;
    next := a.slow_next;
    -- Refusals that come together were caused together, and count once.
    IF v_later AND (parts = 8 OR v_now - a.slow_since >= 1000000) THEN
        parts := greatest(parts / 2, 1);
    ELSIF parts < 8 AND a.slow_passed + v_passed >= 10 AND v_now - a.slow_since >= 10000000 THEN
        parts := parts + 1;
    ELSIF parts < 8 THEN
        -- The time of a pause proves nothing.
        UPDATE deskload.account SET slow_passed = slow_passed + v_passed,
            slow_since = CASE WHEN v_pause > 0 THEN greatest(slow_since, v_now + v_pause) ELSE slow_since END
            WHERE id = v_account;
        RETURN;
    ELSE
        RETURN;
    END IF;
    UPDATE deskload.account SET slow_parts = parts, slow_since = v_now + v_pause, slow_passed = 0 WHERE id = v_account;
END $$;

-- Adds to a run's samples: what was settled to this minute, a wait, which ended just now, to the minutes that it lay in. The
-- run's lock is held. `s` is NULL where a batch is given again, and has been counted, or is lost: no more than a sample.
CREATE FUNCTION deskload.sample(v_run bigint, v_applied bigint, v_failed bigint, v_in_doubt bigint, v_throttled bigint,
    s jsonb) RETURNS void LANGUAGE sql VOLATILE AS $$
    WITH wait AS (
        SELECT deskload.now_us() / 1000 AS now_ms, coalesce((s->>'paused_ms')::bigint, 0) AS paused_ms,
            coalesce((s->>'away_ms')::bigint, 0) AS away_ms
    )
    INSERT INTO deskload.minute AS m (run, minute, applied, failed, in_doubt, throttled, paused_ms, away_ms, per_second,
        latencies)
    SELECT v_run, minute, is_now * v_applied, is_now * v_failed, is_now * v_in_doubt, is_now * v_throttled,
        greatest(until_ms - greatest(from_ms, now_ms - paused_ms), 0),
        greatest(until_ms - greatest(from_ms, now_ms - away_ms), 0), (s->>'per_second')::double precision,
        ARRAY(SELECT is_now * (e.v)::bigint FROM jsonb_array_elements(s->'latencies') WITH ORDINALITY AS e(v, i) ORDER BY e.i)
    FROM wait,
        generate_series((now_ms - least(greatest(paused_ms, away_ms), 7 * 86400000)) / 60000, now_ms / 60000) AS minute,
        LATERAL (SELECT (minute = now_ms / 60000)::integer AS is_now, minute * 60000 AS from_ms,
            least((minute + 1) * 60000, now_ms) AS until_ms) AS bounds
    ORDER BY minute
    ON CONFLICT (run, minute) DO UPDATE SET
        applied = m.applied + excluded.applied, failed = m.failed + excluded.failed,
        in_doubt = m.in_doubt + excluded.in_doubt, throttled = m.throttled + excluded.throttled,
        paused_ms = m.paused_ms + excluded.paused_ms, away_ms = m.away_ms + excluded.away_ms,
        per_second = excluded.per_second,
        latencies = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
            FROM unnest(m.latencies, excluded.latencies) WITH ORDINALITY AS one(a, b, i) ORDER BY i)
$$;

-- Until when a ticket rests that has had so many requests within its window, the later of which bind; NULL: there is room.
CREATE FUNCTION deskload.rests(v_account bigint, v_ticket bigint, v_count bigint, v_window bigint, v_now bigint)
RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT min(until) + v_window FROM (
        SELECT until, requests, sum(requests) OVER (ORDER BY until DESC) - requests AS later
            FROM deskload.spent_by_ticket
            WHERE account = v_account AND ticket = v_ticket AND until > v_now - v_window) AS counts
        WHERE later < v_count HAVING sum(requests) >= v_count
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
    v_each     jsonb  := nullif(b->'each_ticket', 'null');
    v_ticket   bigint;
    v_rests    bigint;
    v_against  jsonb;
    v_doubt    boolean;
    v_was      smallint;
    v_before   bigint;
    v_forgot   boolean;
    v_slow     record;
    v_slow_us  bigint;
    v_permits  jsonb := '[]';
    v_refused  jsonb := '[]';
    v_delta    jsonb := '{}';
    v_tally    record;
    v_counts   jsonb;
    v_given    bigint := 0;
    v_last_due bigint;
    o          record;
    w          record;
BEGIN
    SELECT run.account INTO STRICT v_account FROM deskload.run WHERE id = v_run;
    SELECT instance = deskload.instance() INTO STRICT v_known FROM deskload.journal;

    -- 0. A batch that was held up on its way, and whose worker has gone on without it, must not do anything any more.
    SELECT batch INTO v_before FROM deskload.worker WHERE id = v_worker FOR NO KEY UPDATE;
    IF v_before IS NULL THEN
        PERFORM deskload.not_known();
    ELSIF v_before >= (b->>'batch')::bigint THEN
        RAISE EXCEPTION 'this batch comes too late' USING ERRCODE = 'DL001';
    END IF;
    UPDATE deskload.worker SET batch = (b->>'batch')::bigint, seen = deskload.now_us() WHERE id = v_worker;
    IF v_before < (b->>'answered')::bigint THEN
        -- A batch that was answered is gone: the server was set back, whatever it calls itself. For everybody.
        UPDATE deskload.journal SET instance = 'set back';
        v_known := false;
    END IF;

    -- 1. Locks. A unit's lock is shared: a take-over waits for this batch, or this batch sees the take-over.
    PERFORM 1 FROM deskload.unit WHERE account = v_account
        AND unit.unit IN (SELECT (e.v->>1)::smallint FROM jsonb_array_elements(b->'wanted') AS e(v))
        ORDER BY unit.unit FOR SHARE;
    -- Row by row, by its key, here and below: so no plan can read the whole run, as one of a table that has just been
    -- filled, of which nothing is known yet, is apt to.
    PERFORM 1 FROM (
        SELECT n FROM jsonb_to_recordset(b->'outcomes') AS o(n bigint)
        UNION SELECT n FROM jsonb_to_recordset(b->'back') AS o(n bigint)
        UNION SELECT (e.v->>0)::bigint FROM jsonb_array_elements(b->'lost') AS e(v)
        UNION SELECT (e.v->>0)::bigint FROM jsonb_array_elements(b->'wanted') AS e(v)
        ORDER BY n) AS key,
        LATERAL (SELECT FROM deskload.rows WHERE run = v_run AND number = key.n FOR UPDATE) AS locked;

    -- 2. What became of permits. The fence is the permit's number; a row that a take-over has called in doubt since
    --    is settled by its own outcome all the same, because that is what is known of it now.
    SELECT 0::bigint AS applied, 0::bigint AS failed, 0::bigint AS in_doubt, 0::bigint AS gone, 0::bigint AS thr,
        0::bigint AS skipped INTO v_tally;
    FOR o IN
        SELECT n, p, s, r, m, h, coalesce(gone, 0) AS gone, coalesce(thr, 0) AS thr
            FROM jsonb_to_recordset(b->'outcomes')
            AS o(n bigint, p integer, s smallint, r text, m text, h smallint, gone integer, thr integer)
        UNION ALL SELECT n, p, s, NULL, NULL, NULL, 1, 0
            FROM jsonb_to_recordset(b->'back') AS o(n bigint, p integer, s smallint)
        -- Permits of a batch whose answer was lost, whatever their numbers: they were never used. A row that was in doubt
        -- before is so still, if that batch never came here.
        UNION ALL SELECT (e.v->>0)::bigint, NULL, (e.v->>1)::smallint, NULL, NULL, NULL, 1, 0
            FROM jsonb_array_elements(b->'lost') AS e(v)
    LOOP
        -- A permit with a higher number than the row's is one that this server has forgotten.
        SELECT state, coalesce(permit < o.p, false) INTO v_was, v_forgot FROM deskload.rows
            WHERE run = v_run AND number = o.n
                AND ((worker = v_worker AND permit = coalesce(o.p, permit)) OR permit < o.p);
        -- A row that a person has just wanted sent again, without knowing the answer, need not be if the desk has it.
        CONTINUE WHEN NOT FOUND OR NOT (v_was IN (0, 5) OR (v_was = 2 AND (o.s = 1 OR v_forgot)));
        -- A doubt that stays one was counted already, if this batch is given again.
        CONTINUE WHEN v_was = 5 AND o.s = 5 AND o.gone + o.thr > 0;
        UPDATE deskload.rows SET
            state = o.s, attempts = attempts + v_forgot::integer - o.gone,
            permit = greatest(permit, o.p), worker = v_worker,
            reason = CASE WHEN o.gone = 1 THEN reason ELSE o.r END,
            message = CASE WHEN o.gone = 1 THEN message ELSE o.m END,
            http_status = CASE WHEN o.gone = 1 THEN http_status ELSE o.h END,
            body = CASE WHEN o.s IN (1, 6) THEN NULL ELSE body END
            WHERE run = v_run AND number = o.n;
        v_tally.applied := v_tally.applied + (o.s = 1)::integer;
        v_tally.failed := v_tally.failed + (o.s = 3)::integer;
        v_tally.in_doubt := v_tally.in_doubt + (o.s = 5)::integer - (v_was = 5)::integer;
        v_tally.gone := v_tally.gone + o.gone - v_forgot::integer;
        v_tally.thr := v_tally.thr + o.thr;
    END LOOP;

    -- 3. Permits.
    IF jsonb_array_length(b->'wanted') > 0 OR (b->>'pause_us')::bigint > 0 OR v_tally.thr > 0 THEN
        -- Not against those who only refer to the account: an input that is being taken in does so for long.
        SELECT run IS NOT DISTINCT FROM v_run, paused_until INTO v_active, v_paused
            FROM deskload.account WHERE id = v_account FOR NO KEY UPDATE;
        v_slow := deskload.slow_down(v_account, v_count > 0 AND v_tally.thr > 0, (b->>'pause_us')::bigint,
            v_tally.applied);
        SELECT max((r->>'period_us')::bigint) * 8 / v_slow.parts INTO v_slow_us FROM jsonb_array_elements(v_rates) AS r;
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
        FOR w IN SELECT (e.v->>0)::bigint AS n, (e.v->>1)::smallint AS u, (e.v->>2)::bigint AS epoch,
                    (e.v->>3)::boolean AS resend
                FROM jsonb_array_elements(b->'wanted') WITH ORDINALITY AS e(v, i) ORDER BY e.i LOOP
            v_why := NULL;
            v_rests := NULL;
            IF v_ask IS NULL AND v_known THEN
                v_due := greatest(v_first, v_paused);
                IF v_slow.parts < 8 THEN v_due := greatest(v_due, v_slow.next); END IF;
                FOR i IN 1..v_count LOOP
                    v_due := greatest(v_due, v_full[i] - (v_rates->(i - 1)->>'depth_us')::bigint);
                    IF v_room[i] <= v_given THEN v_due := greatest(v_due, v_free[i]); END IF;
                END LOOP;
                IF v_due > v_first + (b->>'ahead_us')::bigint THEN v_ask := v_due; END IF;
            END IF;
            IF NOT v_known OR v_ask IS NOT NULL THEN
                v_refused := v_refused || jsonb_build_array(jsonb_build_array(w.n, 'spent', NULL));
                CONTINUE;
            END IF;
            -- The lease must last until the request has begun; one that ends while it is under way only makes a doubt.
            SELECT deskload.against(v_account, r), r.state = 5, r.ticket, CASE
                WHEN NOT v_active OR unit.worker IS DISTINCT FROM v_worker OR unit.epoch <> w.epoch
                    OR unit.until < v_due + 2000000 THEN 'lease'
                WHEN r.state <> 2 AND NOT (r.state = 5 AND w.resend) THEN 'settled'
                -- A doubt that newer data has come after is for a person.
                WHEN r.state = 5 AND deskload.against(v_account, r) IS NOT NULL THEN 'newer'
                ELSE deskload.waits(v_account, r)
                END INTO v_against, v_doubt, v_ticket, v_why
                FROM deskload.rows r JOIN deskload.unit ON unit.account = v_account AND unit.unit = r.unit
                WHERE r.run = v_run AND r.number = w.n;
            IF v_why IS NULL AND v_against IS NOT NULL THEN
                v_why := v_against->>'why';
                UPDATE deskload.rows SET state = CASE v_why WHEN 'superseded' THEN 6 ELSE 3 END,
                    body = CASE v_why WHEN 'superseded' THEN NULL ELSE body END, reason = v_why, http_status = NULL,
                    message = format('a later row has set %s of its fields: run %s, row %s',
                        CASE v_why WHEN 'superseded' THEN 'all' ELSE 'some' END, v_against->>'run', v_against->>'row')
                    WHERE run = v_run AND number = w.n;
                v_tally.failed := v_tally.failed + (v_why = 'overlapped')::integer;
                v_tally.skipped := v_tally.skipped + (v_why = 'superseded')::integer;
            END IF;
            IF v_why IS NULL AND v_each IS NOT NULL THEN
                v_rests := deskload.rests(v_account, v_ticket, (v_each->>'count')::bigint,
                    (v_each->>'window_us')::bigint, v_now);
                v_why := CASE WHEN v_rests IS NOT NULL THEN 'rests' END;
            END IF;
            IF v_why IS NOT NULL THEN
                v_refused := v_refused || jsonb_build_array(jsonb_build_array(w.n, v_why, v_rests));
                CONTINUE;
            END IF;
            UPDATE deskload.rows SET state = 0, permit = permit + 1, attempts = attempts + 1, worker = v_worker
                WHERE run = v_run AND number = w.n RETURNING permit, attempts INTO v_permit, v_attempts;
            v_tally.in_doubt := v_tally.in_doubt - v_doubt::integer;
            IF v_each IS NOT NULL THEN
                INSERT INTO deskload.spent_by_ticket AS s (account, ticket, until, requests, counts_us)
                    VALUES (v_account, v_ticket, ((v_due + 100000) / v_slot + 1) * v_slot, 1,
                        (v_each->>'window_us')::bigint)
                    ON CONFLICT (account, ticket, until) DO UPDATE SET requests = s.requests + 1,
                        counts_us = greatest(s.counts_us, excluded.counts_us);
            END IF;
            FOR i IN 1..v_count LOOP
                v_full[i] := greatest(v_full[i], v_due) + (v_rates->(i - 1)->>'period_us')::bigint;
            END LOOP;
            -- A worker without a rate has no pace that could be halved.
            v_slow.next := greatest(v_slow.next, v_due - 5000) + coalesce(v_slow_us, 0);
            v_given := v_given + 1;
            v_last_due := v_due;
            v_permits := v_permits || jsonb_build_array(jsonb_build_array(w.n, v_permit, v_attempts, v_due));
        END LOOP;

        IF v_given > 0 AND v_slow.parts < 8 THEN
            UPDATE deskload.account SET slow_next = v_slow.next WHERE id = v_account;
        END IF;
        IF v_given > 0 AND v_each IS NOT NULL THEN
            DELETE FROM deskload.spent_by_ticket WHERE account = v_account AND until + counts_us < v_now;
        END IF;
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
        '5', v_tally.in_doubt, '6', v_tally.skipped, 'attempts', v_given - v_tally.gone, 'throttled', v_tally.thr,
        'permits', v_given));
    IF jsonb_array_length(b->'outcomes') > 0 OR (b->'sample'->>'paused_ms')::bigint > 0
        OR (b->'sample'->>'away_ms')::bigint > 0 THEN
        PERFORM deskload.sample(v_run, v_tally.applied, v_tally.failed, v_tally.in_doubt, v_tally.thr,
            nullif(b->'sample', 'null'));
    END IF;
    RETURN jsonb_build_object('now', v_now, 'known', v_known, 'permits', v_permits, 'refused', v_refused,
        'ask', v_ask, 'paused', greatest(v_paused - v_now, 0), 'counts', v_counts);
END $$;
