import { root } from '../harness/paths.ts';
import { breaches } from './layers.ts';

const found = breaches(root);
for (const breach of found) process.stderr.write(`${breach}\n`);
if (found.length > 0) process.exitCode = 1;
