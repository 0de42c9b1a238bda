-- Which rows of a new input ask for what their tickets were given last: what unchanged.rs says of it holds here, too.

-- These fields of a ticket, with values that nobody knows.
CREATE FUNCTION deskload.unknown(asks jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(field, NULL) FROM jsonb_object_keys(asks) AS field
$$;

-- What is known of a ticket's fields after one more of its rows: one that was sent, or one of the new input, which is
-- going to be sent unless all that it asks for is known.
CREATE FUNCTION deskload.learn(v_known jsonb, v_asks jsonb, v_is_new boolean)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF NOT v_is_new THEN
        RETURN v_known || v_asks;
    ELSIF v_asks <@ v_known THEN
        RETURN v_known;
    END IF;
    RETURN v_known || deskload.unknown(v_asks);
END $$;

CREATE AGGREGATE deskload.known(v_asks jsonb, v_is_new boolean) (SFUNC = deskload.learn, STYPE = jsonb, INITCOND = '{}');

-- How many permits the account has been given.
CREATE FUNCTION deskload.permits(v_account bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(permits), 0)::bigint FROM deskload.run WHERE account = v_account
$$;

-- Whether it has been given no more since; nor is it from now on, until this transaction ends.
CREATE FUNCTION deskload.is_still(v_account bigint, v_permits bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM 1 FROM deskload.account WHERE id = v_account FOR NO KEY UPDATE;
    RETURN deskload.permits(v_account) = v_permits;
END $$;
