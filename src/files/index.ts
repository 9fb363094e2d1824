export { removeLeftovers, writeWhole } from './write-whole.ts';
