\echo Use "CREATE EXTENSION tasker_uuid" to load this file. \quit

-- 48 bits of milliseconds, 12 bits of what is left of the clock (so that ids made within one millisecond keep their
-- order), 62 random bits. The random bits and the variant come from a version 4 UUID.
CREATE FUNCTION uuid_generate_v7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
    SELECT encode(
        overlay(
            overlay(pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
                    PLACING substring(pg_catalog.int8send(micros / 1000) FROM 3 FOR 6) FROM 1 FOR 6)
            PLACING substring(pg_catalog.int8send(28672 + (micros % 1000) * 4096 / 1000) FROM 7 FOR 2) FROM 7 FOR 2),
        'hex')::uuid
    FROM (SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint AS micros) AS clock
$$;

COMMENT ON FUNCTION uuid_generate_v7() IS 'a version 7 UUID: ordered by the time it was made';
