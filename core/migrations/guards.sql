-- What the tables alone cannot say: the rules that the database itself keeps, whoever writes.

-- Books: every committed transaction has at least two entries and sums to zero per currency.
CREATE FUNCTION shuidian.check_ledger_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked bigint := CASE WHEN TG_TABLE_NAME = 'ledger_entries'
        THEN (to_jsonb(NEW) ->> 'transaction_id')::bigint ELSE NEW.id END;
BEGIN
    IF (SELECT count(*) FROM shuidian.ledger_entries WHERE transaction_id = checked) < 2
        OR EXISTS (
            SELECT FROM shuidian.ledger_entries WHERE transaction_id = checked
            GROUP BY currency HAVING sum(amount_minor) <> 0
        )
    THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', checked
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_zero_sum';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledger_zero_sum AFTER INSERT ON shuidian.ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION shuidian.check_ledger_transaction();
CREATE CONSTRAINT TRIGGER ledger_zero_sum AFTER INSERT ON shuidian.ledger_transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION shuidian.check_ledger_transaction();

-- History: rows of these tables are only ever added.
CREATE FUNCTION shuidian.refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shuidian.ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shuidian.ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shuidian.audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shuidian.repair_events
    FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting();

-- Bills: no two of one agreement cover the same day. The range of one number stands in for
-- equality, which an exclusion constraint offers only with an extension.
ALTER TABLE shuidian.bills ADD CONSTRAINT no_overlap EXCLUDE USING gist (
    int8range(agreement_id, agreement_id, '[]') WITH &&,
    daterange(starts_date, ends_date) WITH &&
) WHERE (state <> 'void');
