export { hasCode } from './has-code.ts';
export { removeLeftovers, writeWhole } from './write-whole.ts';
