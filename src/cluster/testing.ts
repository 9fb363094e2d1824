import type { Asked } from '../kubernetes/testing.ts';

interface Kept {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
  };
}

/** Objects with the API server's optimistic locking, for a `FakeApiServer`: who was not first gets a 409. */
export class ObjectShelf {
  readonly objects: Map<string, Kept> = new Map();
  #version = 100;

  readonly answer = ({ method, path, body, json }: Asked): void => {
    if (method === 'GET') {
      const found = this.objects.get(path);
      json(found ?? { message: 'not found' }, found === undefined ? 404 : 200);
      return;
    }
    void this.#write(method, path, body, json);
  };

  put(path: string, object: Kept): Kept {
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    const kept = { ...object, metadata };
    this.objects.set(path, kept);
    return kept;
  }

  async #write(method: string, path: string, body: Asked['body'], json: Asked['json']): Promise<void> {
    const object = (await body()) as Kept;
    const at = method === 'POST' ? `${path}/${object.metadata.name}` : path;
    const known = this.objects.get(at)?.metadata.resourceVersion;
    if (method === 'PUT' && known === undefined) json({ message: 'not found' }, 404);
    else if (known !== object.metadata.resourceVersion) json({ message: 'conflict' }, 409);
    else json(this.put(at, object));
  }
}
