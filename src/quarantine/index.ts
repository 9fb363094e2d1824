export { QuarantineError, type QuarantineErrorCode } from './errors.ts';
export {
  current,
  EMPTY,
  equal,
  MAX_BYTES,
  MAX_ENTRIES,
  merged,
  nextEnd,
  nextReached,
  reached,
  withEntry,
  without,
} from './ledger.ts';
export { entryAgainst, isCutOff, rulesFor, rulesOfSuspect, subjectInWords } from './rules.ts';
export { digestOf, MAX_REASON, parseLedger, serializeLedger } from './stored.ts';
export type { Entry, Ledger, PodRef, Removal, Subject, Suspect } from './types.ts';
