import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

/** Reads a generated descriptor. @throws Error that says to build, where there is none. */
function load(name: 'envoy.json' | 'operator.json'): protobuf.INamespace {
  const path = new URL(`../proto/gen/${name}`, import.meta.url);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as protobuf.INamespace;
  } catch (error) {
    throw new Error(`${path.pathname} cannot be read: run make build`, { cause: error });
  }
}

export function envoySchema(): protobuf.Root {
  return protobuf.Root.fromJSON(load('envoy.json')).resolveAll() as protobuf.Root;
}

export function operatorSchema(): protobuf.Root {
  return protobuf.Root.fromJSON(load('operator.json')).resolveAll() as protobuf.Root;
}
