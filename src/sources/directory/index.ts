export { DirectorySource } from './directory-source.ts';
export type { DirectorySourceOptions } from './directory-source.ts';
export { DirectoryError } from './errors.ts';
export type { DirectoryErrorCode } from './errors.ts';
export type { DirectoryReport, Problem } from './types.ts';
