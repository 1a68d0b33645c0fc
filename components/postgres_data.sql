-- Functions that save and restore a database: run by psql, as a superuser, within one transaction.
--
-- Rows are saved as text in one table, and objects as hashes of their rows in the catalog: nothing here depends on an
-- object of the database, so every object can be altered or dropped.
SET LOCAL check_function_bodies = off;  -- whose check costs more than all the rest
DROP SCHEMA IF EXISTS ephemera CASCADE;
CREATE SCHEMA ephemera;

-- Creating files takes most of the time, so there are few: no unneeded index, no column that could be large.
CREATE TABLE ephemera.ready (generation varchar(40) NOT NULL, has_public boolean NOT NULL, is_new boolean, dump text);
CREATE TABLE ephemera.objects (class oid, object oid, label varchar(100) NOT NULL, content uuid NOT NULL);
CREATE TABLE ephemera.relations (relation oid, name varchar(300) NOT NULL, kind "char" NOT NULL, mark varchar(100) NOT NULL);
CREATE TABLE ephemera.rows (relation oid, position bigint, content text NOT NULL, PRIMARY KEY (relation, position));
CREATE TABLE ephemera.sequences (relation oid, name varchar(300) NOT NULL, last_value bigint, is_called boolean);

CREATE VIEW ephemera.spaces AS
SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'ephemera');

CREATE VIEW ephemera.present AS
SELECT c.oid AS relation, format('%I.%I', s.nspname, c.relname)::varchar(300) AS name, c.relkind AS kind
FROM pg_class c JOIN ephemera.spaces s ON s.oid = c.relnamespace
-- Large objects are rows of these two tables, which a superuser may write like any other.
UNION ALL SELECT c.oid, c.oid::regclass::text, 'o'
FROM pg_class c WHERE c.oid IN ('pg_largeobject_metadata'::regclass, 'pg_largeobject'::regclass);

-- Everything that DDL changes, and nothing that DML, VACUUM, TRUNCATE or REFRESH change.
CREATE VIEW ephemera.catalog AS
WITH relations AS (SELECT * FROM pg_class WHERE relnamespace IN (SELECT oid FROM ephemera.spaces))
SELECT class, object, left(label, 100) AS label, md5(content)::uuid AS content FROM (
SELECT 'pg_namespace'::regclass::oid AS class, oid AS object, nspname::text AS label, n::text AS content
  FROM pg_namespace n WHERE oid IN (SELECT oid FROM ephemera.spaces)
UNION ALL SELECT 'pg_class'::regclass, oid, relname, ROW(relname, relnamespace, reloftype, relowner, relam,
    reltablespace, relpersistence, relkind, relnatts, relrowsecurity, relforcerowsecurity, relreplident, relispartition,
    relacl, reloptions, relpartbound)::text FROM relations
UNION ALL SELECT 'pg_attribute'::regclass, r.oid, 'columns of ' || r.relname, string_agg(ROW(attname, atttypid, attnum,
    atttypmod, attnotnull, atthasdef, attidentity, attgenerated, attisdropped, attislocal, attinhcount, attcollation,
    attstorage, attacl, attoptions, attfdwoptions)::text, ' ' ORDER BY attnum)
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
  WHERE attnum > 0 AND relkind NOT IN ('i', 'I', 'S') GROUP BY r.oid, r.relname
UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, 'default in ' || relname, d::text
  FROM pg_attrdef d JOIN relations r ON r.oid = adrelid
UNION ALL SELECT 'pg_constraint'::regclass, c.oid, conname, c::text
  FROM pg_constraint c WHERE connamespace IN (SELECT oid FROM ephemera.spaces)
UNION ALL SELECT 'pg_index'::regclass, indexrelid, 'index on ' || relname, ROW(indnatts, indisunique, indisprimary,
    indisexclusion, indimmediate, indisvalid, indisreplident, indkey, indcollation, indclass, indoption, indexprs,
    indpred)::text
  FROM pg_index JOIN relations r ON r.oid = indrelid
UNION ALL SELECT 'pg_type'::regclass, oid, typname, t::text
  FROM pg_type t WHERE typnamespace IN (SELECT oid FROM ephemera.spaces)
UNION ALL SELECT 'pg_enum'::regclass, oid, enumlabel, e::text FROM pg_enum e
UNION ALL SELECT 'pg_range'::regclass, rngtypid, 'range', g::text FROM pg_range g WHERE rngtypid >= 16384
UNION ALL SELECT 'pg_proc'::regclass, oid, proname, p::text
  FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM ephemera.spaces)
UNION ALL SELECT 'pg_aggregate'::regclass, aggfnoid::oid, 'aggregate', g::text
  FROM pg_aggregate g WHERE aggfnoid::oid >= 16384
UNION ALL SELECT 'pg_trigger'::regclass, t.oid, tgname, t::text FROM pg_trigger t JOIN relations r ON r.oid = tgrelid
UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, rulename, w::text FROM pg_rewrite w JOIN relations r ON r.oid = ev_class
UNION ALL SELECT 'pg_policy'::regclass, p.oid, polname, p::text FROM pg_policy p JOIN relations r ON r.oid = polrelid
UNION ALL SELECT 'pg_sequence'::regclass, seqrelid, relname, s::text
  FROM pg_sequence s JOIN relations r ON r.oid = seqrelid
UNION ALL SELECT 'pg_inherits'::regclass, inhrelid, 'parents', string_agg(i::text, ' ' ORDER BY inhseqno)
  FROM pg_inherits i JOIN relations r ON r.oid = inhrelid GROUP BY inhrelid
UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxname, s::text
  FROM pg_statistic_ext s WHERE stxnamespace IN (SELECT oid FROM ephemera.spaces)
UNION ALL SELECT 'pg_collation'::regclass, oid, collname, c::text FROM pg_collation c WHERE oid >= 16384
UNION ALL SELECT 'pg_operator'::regclass, oid, oprname, o::text FROM pg_operator o WHERE oid >= 16384
UNION ALL SELECT 'pg_opclass'::regclass, oid, opcname, o::text FROM pg_opclass o WHERE oid >= 16384
UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfname, o::text FROM pg_opfamily o WHERE oid >= 16384
UNION ALL SELECT 'pg_amop'::regclass, oid, 'operator of a family', o::text FROM pg_amop o WHERE oid >= 16384
UNION ALL SELECT 'pg_amproc'::regclass, oid, 'function of a family', o::text FROM pg_amproc o WHERE oid >= 16384
UNION ALL SELECT 'pg_conversion'::regclass, oid, conname, c::text FROM pg_conversion c WHERE oid >= 16384
UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgname, c::text FROM pg_ts_config c WHERE oid >= 16384
UNION ALL SELECT 'pg_ts_config_map'::regclass, mapcfg, 'text search', string_agg(m::text, ' ' ORDER BY m::text)
  FROM pg_ts_config_map m WHERE mapcfg >= 16384 GROUP BY mapcfg
UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictname, d::text FROM pg_ts_dict d WHERE oid >= 16384
UNION ALL SELECT 'pg_ts_parser'::regclass, oid, prsname, p::text FROM pg_ts_parser p WHERE oid >= 16384
UNION ALL SELECT 'pg_ts_template'::regclass, oid, tmplname, t::text FROM pg_ts_template t WHERE oid >= 16384
UNION ALL SELECT 'pg_cast'::regclass, oid, 'cast', c::text FROM pg_cast c WHERE oid >= 16384
UNION ALL SELECT 'pg_transform'::regclass, oid, 'transform', t::text FROM pg_transform t WHERE oid >= 16384
UNION ALL SELECT 'pg_language'::regclass, oid, lanname, l::text FROM pg_language l WHERE oid >= 16384
UNION ALL SELECT 'pg_am'::regclass, oid, amname, a::text FROM pg_am a WHERE oid >= 16384
UNION ALL SELECT 'pg_extension'::regclass, oid, extname, e::text FROM pg_extension e
UNION ALL SELECT 'pg_event_trigger'::regclass, oid, evtname, e::text FROM pg_event_trigger e
UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwname, f::text FROM pg_foreign_data_wrapper f
UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvname, s::text FROM pg_foreign_server s
UNION ALL SELECT 'pg_foreign_table'::regclass, ftrelid, 'foreign table', f::text FROM pg_foreign_table f
UNION ALL SELECT 'pg_user_mapping'::regclass, oid, 'user mapping', u::text FROM pg_user_mapping u
UNION ALL SELECT 'pg_publication'::regclass, oid, pubname, p::text FROM pg_publication p
UNION ALL SELECT 'pg_publication_rel'::regclass, oid, 'table of a publication', p::text FROM pg_publication_rel p
UNION ALL SELECT 'pg_default_acl'::regclass, oid, 'default rights', d::text FROM pg_default_acl d
UNION ALL SELECT 'pg_description'::regclass, objoid, 'comment', string_agg(d::text, ' ' ORDER BY classoid, objsubid)
  FROM pg_description d WHERE objoid >= 16384 GROUP BY objoid
UNION ALL SELECT 'pg_authid'::regclass, oid, rolname, a::text FROM pg_authid a
UNION ALL SELECT 'pg_auth_members'::regclass, member, 'roles of ' || member::regrole, string_agg(
    ROW(roleid, admin_option)::text, ' ' ORDER BY roleid) FROM pg_auth_members GROUP BY member
UNION ALL SELECT 'pg_database'::regclass, oid, datname, ROW(datdba, datallowconn, datconnlimit, datacl)::text
  FROM pg_database WHERE datname = current_database()
UNION ALL SELECT 'pg_db_role_setting'::regclass, setrole, 'settings of database or role', string_agg(s::text, ' ')
  FROM pg_db_role_setting s JOIN pg_database d ON setdatabase IN (0, d.oid) AND datname = current_database()
  GROUP BY setrole
) AS found;

-- The effects of DDL since: `created`, `altered` or `missing`.
CREATE FUNCTION ephemera.changes() RETURNS TABLE (how text, class oid, object oid, label varchar)
LANGUAGE sql SET search_path = '' AS $$
    SELECT CASE WHEN k.content IS NULL THEN 'created' WHEN c.content IS NULL THEN 'missing' ELSE 'altered' END,
           coalesce(c.class, k.class), coalesce(c.object, k.object), coalesce(c.label, k.label)
    FROM ephemera.catalog c FULL JOIN ephemera.objects k USING (class, object)
    WHERE c.content IS DISTINCT FROM k.content
$$;

-- A sum over the places of rows and the transactions that wrote them: each write changes it; one scan.
CREATE FUNCTION ephemera.mark(name text) RETURNS text LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    found text;
BEGIN
    EXECUTE format('SELECT concat(count(*), '' '', sum(hashtextextended(ctid::text || xmin::text, 0))) FROM ONLY %s', name)
       INTO found;
    RETURN found;
END $$;

CREATE FUNCTION ephemera.mark_of(relation oid, name text) RETURNS text LANGUAGE sql SET search_path = '' AS $$
    SELECT CASE WHEN (SELECT relispopulated FROM pg_class WHERE oid = relation) THEN ephemera.mark(name) ELSE 'empty' END
$$;

CREATE FUNCTION ephemera.sequences_now() RETURNS TABLE (relation oid, name varchar, last_value bigint, is_called boolean)
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    query text;
BEGIN
    SELECT string_agg(format('SELECT %s::oid, %L::varchar, last_value, is_called FROM %s', p.relation, p.name, p.name), ' UNION ALL ')
      INTO query FROM ephemera.present p WHERE p.kind = 'S';
    IF query IS NOT NULL THEN
        RETURN QUERY EXECUTE query;
    END IF;
END $$;

CREATE FUNCTION ephemera.remember(generation text) RETURNS void LANGUAGE plpgsql
SET search_path = '' SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
SET bytea_output = 'hex' SET lc_monetary = 'C' SET timezone = 'UTC' SET xmloption = 'content' AS $$
DECLARE
    r record;
    mark text;
BEGIN
    INSERT INTO ephemera.ready SELECT generation, to_regnamespace('public') IS NOT NULL;
    INSERT INTO ephemera.sequences SELECT * FROM ephemera.sequences_now();
    FOR r IN SELECT * FROM ephemera.present WHERE kind IN ('r', 'm', 'o') LOOP
        mark := ephemera.mark_of(r.relation, r.name);
        INSERT INTO ephemera.relations VALUES (r.relation, r.name, r.kind, mark);
        IF mark NOT IN ('0 ', 'empty') THEN
            EXECUTE format('INSERT INTO ephemera.rows SELECT $1, row_number() OVER (), (t.*)::text FROM ONLY %s t', r.name)
                USING r.relation;
        END IF;
    END LOOP;
    INSERT INTO ephemera.objects SELECT * FROM ephemera.catalog;
    UPDATE ephemera.ready SET is_new = ephemera.is_new();
END $$;

-- Whether the database holds only what a new one of this server does, except for roles and its own settings.
CREATE FUNCTION ephemera.is_new() RETURNS boolean LANGUAGE sql SET search_path = '' AS $$
    SELECT NOT EXISTS (SELECT FROM ephemera.objects WHERE object >= 16384 AND class NOT IN (
            'pg_catalog.pg_authid'::regclass, 'pg_catalog.pg_auth_members'::regclass,
            'pg_catalog.pg_database'::regclass, 'pg_catalog.pg_db_role_setting'::regclass))
       AND coalesce((SELECT nspacl::text = '{pg_database_owner=UC/pg_database_owner,=U/pg_database_owner}'
               FROM pg_catalog.pg_namespace WHERE nspname = 'public'), false)
$$;

-- The sessions that hold locks on tables, without their statements, which may contain secrets.
CREATE FUNCTION ephemera.holders() RETURNS text LANGUAGE sql SET search_path = '' AS $$
    SELECT coalesce(string_agg(DISTINCT format('process %s (%s, %s) has been %s for %s s', a.pid,
               coalesce(nullif(a.application_name, ''), a.usename), coalesce(host(a.client_addr), 'local'), a.state,
               extract(epoch FROM clock_timestamp() - a.state_change)::integer), '; '), 'an unknown session')
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.granted AND l.locktype = 'relation' AND l.pid <> pg_backend_pid() AND l.mode <> 'AccessShareLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN (SELECT relation FROM ephemera.present)
$$;

-- Lock all tables at once, within 5 s. Each try is short, so sessions that wait behind it proceed soon. In a deadlock,
-- this session gives up, never a service's.
CREATE FUNCTION ephemera.lock() RETURNS void LANGUAGE plpgsql
SET search_path = '' SET lock_timeout = '200ms' SET deadlock_timeout = '10ms' AS $$
DECLARE
    tables text;
    deadline timestamptz := clock_timestamp() + interval '5 s';
    holders text;
BEGIN
    SELECT string_agg('ONLY ' || name, ', ') INTO tables FROM ephemera.present WHERE kind = 'r';
    WHILE tables IS NOT NULL LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE', tables);
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            holders := ephemera.holders();
            IF clock_timestamp() > deadline THEN
                RAISE EXCEPTION 'its tables could not be locked within 5 s: %', holders USING ERRCODE = 'lock_not_available';
            END IF;
            PERFORM pg_sleep(0.02);
        END;
    END LOOP;
END $$;

-- Drop the roles that were created since, with what they own; return how many.
CREATE FUNCTION ephemera.drop_roles() RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    role regrole;
    dropped integer := 0;
BEGIN
    FOR role IN
        SELECT a.oid FROM pg_authid a LEFT JOIN ephemera.objects k ON k.class = 'pg_authid'::regclass AND k.object = a.oid
        WHERE k.object IS NULL
    LOOP
        EXECUTE format('DROP OWNED BY %s CASCADE', role);
        EXECUTE format('DROP ROLE %s', role);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- Drop the objects that were created since; return how many.
CREATE FUNCTION ephemera.drop_created() RETURNS integer LANGUAGE plpgsql
SET search_path = '' SET lock_timeout = '5s' SET session_replication_role = 'replica' AS $$
DECLARE
    r record;
    o record;
    dropped integer := 0;
BEGIN
    FOR r IN
        SELECT c.class, c.object, c.label
        FROM (SELECT * FROM ephemera.changes() WHERE how = 'created') c
        JOIN unnest(ARRAY['pg_extension', 'pg_namespace', 'pg_class', 'pg_constraint', 'pg_trigger', 'pg_rewrite',
                          'pg_policy', 'pg_proc', 'pg_type', 'pg_cast', 'pg_publication', 'pg_event_trigger',
                          'pg_statistic_ext', 'pg_foreign_data_wrapper', 'pg_language'
                         ]::regclass[]) WITH ORDINALITY AS k (class, position) ON k.class = c.class
        LEFT JOIN pg_class p ON p.oid = c.object AND c.class = 'pg_class'::regclass
        LEFT JOIN pg_constraint s ON s.oid = c.object AND c.class = 'pg_constraint'::regclass
        -- Tables before their indexes, constraints before the indexes that they are made of; keys before what they
        -- refer to.
        ORDER BY CASE WHEN p.relkind IN ('i', 'I', 'S', 'c') THEN 100 ELSE k.position END, s.contype = 'f' DESC, c.object
    LOOP
        SELECT * INTO o FROM pg_identify_object(r.class, r.object, 0);
        -- It was dropped with its owner, or will be.
        CONTINUE WHEN o.identity IS NULL OR EXISTS (
            SELECT FROM pg_depend WHERE classid = r.class AND objid = r.object AND deptype IN ('i', 'P', 'S'));
        IF o.type = 'table constraint' THEN
            SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname) INTO o.identity
                FROM pg_constraint WHERE oid = r.object;
            EXECUTE o.identity;
        ELSE
            EXECUTE format('DROP %s IF EXISTS %s CASCADE',
                CASE o.type WHEN 'composite type' THEN 'TYPE' WHEN 'statistics object' THEN 'STATISTICS' ELSE o.type END,
                o.identity);
        END IF;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped + ephemera.drop_roles();
END $$;

-- Restore the rows of one table.
CREATE FUNCTION ephemera.refill(relation oid, name text, known oid) RETURNS void LANGUAGE plpgsql
SET search_path = '' SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
SET bytea_output = 'hex' SET lc_monetary = 'C' SET timezone = 'UTC' SET xmloption = 'content'
SET session_replication_role = 'replica' SET row_security = off AS $$
DECLARE
    columns text;
    parts text;
    -- Triggers that fire even for a replica.
    triggers text[] := ARRAY(
        SELECT format('TRIGGER %I', tgname) || CASE tgenabled WHEN 'A' THEN ' ALWAYS' ELSE ' REPLICA' END FROM pg_trigger
        WHERE tgrelid = relation AND tgenabled IN ('A', 'R') AND NOT tgisinternal
        UNION ALL
        SELECT format('RULE %I', rulename) || CASE ev_enabled WHEN 'A' THEN ' ALWAYS' ELSE ' REPLICA' END FROM pg_rewrite
        WHERE ev_class = relation AND ev_enabled IN ('A', 'R'));
    t text;
BEGIN
    SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum), string_agg(format('(r.t).%I', attname), ', ' ORDER BY attnum)
      INTO columns, parts FROM pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    FOREACH t IN ARRAY triggers LOOP
        EXECUTE format('ALTER TABLE %s DISABLE %s', name, regexp_replace(t, ' (ALWAYS|REPLICA)$', ''));
    END LOOP;
    EXECUTE format('DELETE FROM ONLY %s', name);
    IF EXISTS (SELECT FROM ephemera.rows w WHERE w.relation = known) THEN
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM (SELECT w.content::%s AS t'
            ' FROM ephemera.rows w WHERE w.relation = $1 ORDER BY w.position OFFSET 0) r', name, columns, parts, name)
            USING known;
    END IF;
    FOREACH t IN ARRAY triggers LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s %s', name, regexp_replace(t, '^.* (ALWAYS|REPLICA)$', '\1'),
            regexp_replace(t, ' (ALWAYS|REPLICA)$', ''));
    END LOOP;
END $$;

-- Refresh a materialized view, which must then hold what it held.
CREATE FUNCTION ephemera.refresh(name text, known oid, was text) RETURNS void LANGUAGE plpgsql
SET search_path = '' SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
SET bytea_output = 'hex' SET lc_monetary = 'C' SET timezone = 'UTC' SET xmloption = 'content' AS $$
DECLARE
    other boolean;
BEGIN
    IF was = 'empty' THEN
        EXECUTE format('REFRESH MATERIALIZED VIEW %s WITH NO DATA', name);
        RETURN;
    END IF;
    EXECUTE format('REFRESH MATERIALIZED VIEW %s', name);
    EXECUTE format('WITH now AS (SELECT (t.*)::text AS content FROM %s t),'
        ' before AS (SELECT content FROM ephemera.rows WHERE relation = $1)'
        ' SELECT EXISTS (SELECT * FROM now EXCEPT ALL SELECT * FROM before)'
        ' OR EXISTS (SELECT * FROM before EXCEPT ALL SELECT * FROM now)', name) INTO other USING known;
    IF other THEN
        RAISE EXCEPTION 'materialized view % was behind its tables when it was remembered: refresh it before', name;
    END IF;
END $$;

-- Restore rows, large objects, materialized views and sequences; return how many of them had changed.
CREATE FUNCTION ephemera.restore_rows() RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    r record;
    changed integer := 0;
BEGIN
    -- Tables before materialized views, which are computed from them, older ones first.
    FOR r IN SELECT * FROM ephemera.relations ORDER BY kind = 'm', relation LOOP
        CONTINUE WHEN r.mark = ephemera.mark_of(r.relation, r.name);
        IF r.kind = 'm' THEN
            PERFORM ephemera.refresh(r.name, r.relation, r.mark);
        ELSE
            PERFORM ephemera.refill(r.relation, r.name, r.relation);
        END IF;
        UPDATE ephemera.relations SET mark = ephemera.mark_of(r.relation, r.name) WHERE relation = r.relation;
        changed := changed + 1;
    END LOOP;
    -- Last: a rollback does not undo what is set of a sequence.
    FOR r IN SELECT * FROM ephemera.sequences EXCEPT SELECT * FROM ephemera.sequences_now() LOOP
        PERFORM setval(r.relation::regclass, r.last_value, r.is_called);
        changed := changed + 1;
    END LOOP;
    RETURN changed;
END $$;

-- Changes outside all schemas, which rebuilding a schema cannot undo.
CREATE FUNCTION ephemera.beyond() RETURNS text LANGUAGE sql SET search_path = '' AS $$
    SELECT string_agg(DISTINCT label || ' ' || how, ', ') FROM ephemera.changes()
    WHERE class IN ('pg_authid'::regclass, 'pg_auth_members'::regclass, 'pg_database'::regclass,
                    'pg_db_role_setting'::regclass)
      AND NOT (class = 'pg_authid'::regclass AND how = 'created')
$$;

-- End all other sessions if types were recreated: clients, and their prepared statements, know types by number.
CREATE FUNCTION ephemera.disconnect() RETURNS bigint LANGUAGE sql SET search_path = '' AS $$
    SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name <> 'ephemera'
      AND EXISTS (
          SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
          WHERE t.typnamespace IN (SELECT oid FROM ephemera.spaces) AND t.typcategory <> 'A'
            AND (t.typtype <> 'c' OR c.relkind = 'c'))
$$;

-- Restore all data if the schema is the same, except for objects created since. Return in words what was done; or,
-- beginning with `rebuild: `, what was altered or dropped: then nothing was done.
CREATE FUNCTION ephemera.restore() RETURNS text LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    altered text;
    created bigint;
    dropped integer := 0;
    changed integer;
BEGIN
    PERFORM ephemera.lock();
    SELECT string_agg(DISTINCT label || ' ' || how, ', ') FILTER (WHERE how <> 'created'), count(*)
      INTO altered, created FROM ephemera.changes();
    IF altered IS NULL AND created > 0 THEN
        BEGIN
            dropped := ephemera.drop_created();
            SELECT string_agg(DISTINCT label || ' ' || how, ', ') INTO altered FROM ephemera.changes();
            IF altered IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'EP001';
            END IF;
        EXCEPTION WHEN SQLSTATE 'EP001' THEN
            dropped := 0;
        END;
    END IF;
    IF altered IS NOT NULL THEN
        IF ephemera.beyond() IS NOT NULL THEN
            RAISE EXCEPTION 'roles or settings outside its schemas were changed: %', ephemera.beyond();
        ELSIF (SELECT dump IS NULL AND NOT is_new FROM ephemera.ready) THEN
            RAISE EXCEPTION 'its schema was changed before it could be kept: %', altered;
        END IF;
        RETURN 'rebuild: ' || altered;
    END IF;
    changed := ephemera.restore_rows();
    RETURN concat_ws(', ', changed || ' changed brought back', nullif(dropped, 0) || ' created since dropped');
END $$;

-- Save the definition of the schema, taken a moment after the rows, unless DDL came in between.
CREATE FUNCTION ephemera.keep(definition text) RETURNS void LANGUAGE sql SET search_path = '' AS $$
    UPDATE ephemera.ready SET dump = definition WHERE definition <> '' AND NOT EXISTS (SELECT FROM ephemera.changes())
$$;

-- Drop all that is not ours, and leave the schema `public` as in a new database.
CREATE FUNCTION ephemera.clear() RETURNS void LANGUAGE plpgsql
SET search_path = '' SET lock_timeout = '5s' SET session_replication_role = 'replica' AS $$
DECLARE
    r record;
    o record;
BEGIN
    PERFORM ephemera.lock();
    FOR r IN
        SELECT c.class, c.object
        FROM ephemera.catalog c
        JOIN unnest(ARRAY['pg_event_trigger', 'pg_publication', 'pg_extension', 'pg_namespace', 'pg_cast', 'pg_transform',
                          'pg_foreign_data_wrapper', 'pg_language', 'pg_am', 'pg_default_acl'
                         ]::regclass[]) WITH ORDINALITY AS k (class, position) ON k.class = c.class
        ORDER BY k.position, c.object
    LOOP
        SELECT * INTO o FROM pg_identify_object(r.class, r.object, 0);
        CONTINUE WHEN o.identity IS NULL OR (o.type = 'extension' AND r.object < 16384);
        IF o.type = 'default acl' THEN
            DELETE FROM pg_default_acl WHERE oid = r.object;
        ELSE
            EXECUTE format('DROP %s IF EXISTS %s CASCADE', o.type, o.identity);
        END IF;
    END LOOP;
    IF current_setting('server_version_num')::integer >= 150000 THEN
        CREATE SCHEMA public AUTHORIZATION pg_database_owner;
        GRANT USAGE ON SCHEMA public TO PUBLIC;
    ELSE
        CREATE SCHEMA public;
        GRANT ALL ON SCHEMA public TO PUBLIC;
    END IF;
    COMMENT ON SCHEMA public IS 'standard public schema';
END $$;

-- Fill a schema that was rebuilt, and record it as the saved one.
CREATE FUNCTION ephemera.refill() RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    r record;
    found oid;
BEGIN
    IF NOT (SELECT has_public FROM ephemera.ready) THEN
        DROP SCHEMA public;
    END IF;
    FOR r IN SELECT * FROM ephemera.relations ORDER BY kind = 'm', relation LOOP
        found := r.name::regclass;
        IF r.kind = 'm' THEN
            PERFORM ephemera.refresh(r.name, r.relation, r.mark);
        ELSE
            PERFORM ephemera.refill(found, r.name, r.relation);
        END IF;
        UPDATE ephemera.rows w SET relation = found WHERE w.relation = r.relation;
        UPDATE ephemera.relations SET relation = found, mark = ephemera.mark_of(found, name) WHERE relation = r.relation;
    END LOOP;
    UPDATE ephemera.sequences SET relation = name::regclass;
    PERFORM ephemera.restore_rows();
    DELETE FROM ephemera.objects;
    INSERT INTO ephemera.objects SELECT * FROM ephemera.catalog;
END $$;
