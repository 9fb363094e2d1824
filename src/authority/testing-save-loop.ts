/** A process of the key store's test: saves, ever again, with a growing sequence, until it is killed. */
import { directoryKeyStore } from './directory-key-store.ts';

const store = directoryKeyStore(String(process.argv[2]));
const kept = await store.load();
if (kept === undefined) throw new Error('The store is empty.');
for (let sequence = kept.bundle.sequence + 1; ; sequence += 1) {
  await store.save({ ...kept, bundle: { ...kept.bundle, sequence } });
  process.send?.('saved');
}
