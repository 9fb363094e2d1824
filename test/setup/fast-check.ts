import * as fc from 'fast-check';

/** `make test` gives the same answer each time; `FAST_CHECK_SEED` tries other cases. */
fc.configureGlobal({ seed: Number(process.env['FAST_CHECK_SEED'] ?? 20_261_122) });
