-- The least that workers need. Give it as the owner of the database, after `deskload journal init`; that and
-- `journal check --confirm` stay with the owner.
CREATE ROLE deskload_worker LOGIN;
-- Whoever may make functions elsewhere in this database is not obeyed.
ALTER ROLE deskload_worker SET search_path = pg_catalog;
GRANT USAGE ON SCHEMA deskload TO deskload_worker;
GRANT SELECT, UPDATE (instance) ON deskload.journal TO deskload_worker; -- a worker tells all others that it was set back
GRANT SELECT, INSERT, UPDATE ON deskload.account, deskload.unit, deskload.run, deskload.bucket TO deskload_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON deskload.rows, deskload.invocation, deskload.minute, deskload.spent,
    deskload.spent_by_ticket, deskload.worker
    TO deskload_worker;
-- For --only-changed. Everybody has this right, unless it was taken away.
DO $$ BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO deskload_worker', current_database());
END $$;
