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

-- Supply: an order takes each of its steps once and in turn, and no cut is sent against the rules
-- that know no exception: protection, the approver's own account, the number an hour and a day.
CREATE FUNCTION shuidian.check_supply_order() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    meters bigint;
    hour bigint;
    day bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> (CASE NEW.wanted WHEN 'cut' THEN 'proposed' ELSE 'approved' END) THEN
            RAISE EXCEPTION 'an order to % cannot begin as %', NEW.wanted, NEW.state
                USING ERRCODE = 'check_violation', CONSTRAINT = 'supply_steps';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.wanted, NEW.service_point_id, NEW.agreement_id)
            IS DISTINCT FROM (OLD.wanted, OLD.service_point_id, OLD.agreement_id)
        OR NEW.state <> OLD.state AND NOT (OLD.state || '>' || NEW.state) = ANY (ARRAY[
            'proposed>approved', 'proposed>declined', 'proposed>cancelled',
            'approved>sent', 'approved>cancelled', 'approved>expired',
            'sent>accepted', 'sent>confirmed', 'sent>failed', 'sent>cancelled',
            'accepted>confirmed', 'accepted>failed', 'accepted>cancelled'])
    THEN
        RAISE EXCEPTION 'order % cannot go from % to %', NEW.number, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'supply_steps';
    END IF;
    IF NEW.wanted <> 'cut' OR NEW.state <> 'sent' OR OLD.state = 'sent' THEN
        RETURN NEW;
    END IF;
    IF EXISTS (
        SELECT FROM shuidian.service_points
        WHERE id = NEW.service_point_id AND protected IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'the place of order % is protected', NEW.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'supply_protected';
    END IF;
    IF EXISTS (
        SELECT FROM shuidian.agreements a JOIN shuidian.account_rights r USING (account_id)
        WHERE a.id = NEW.agreement_id AND r.person_id = NEW.approved_by_id
    ) THEN
        RAISE EXCEPTION 'order % was approved by somebody it concerns', NEW.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'supply_own_account';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('supply.cuts', 0));
    SELECT count(*) INTO meters FROM shuidian.meters WHERE removed_at IS NULL;
    SELECT count(*) FILTER (WHERE sent_at > NEW.sent_at - interval '1 hour'), count(*)
        INTO hour, day FROM shuidian.supply_orders
        WHERE wanted = 'cut' AND sent_at > NEW.sent_at - interval '1 day' AND id <> NEW.id;
    IF hour >= greatest(5, meters / 1000) OR day >= greatest(5, meters / 200) THEN
        RAISE EXCEPTION 'too many cuts: % in an hour, % in a day', hour, day
            USING ERRCODE = 'check_violation', CONSTRAINT = 'supply_brake';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER supply_order BEFORE INSERT OR UPDATE ON shuidian.supply_orders
    FOR EACH ROW EXECUTE FUNCTION shuidian.check_supply_order();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON shuidian.supply_orders
    FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting();
