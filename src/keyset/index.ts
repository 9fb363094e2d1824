export { readKeySet, type KeySet, type ReadKeySet } from './key-set.ts';
