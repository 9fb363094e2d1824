import type { JsonObject } from '../../../src/proxy/index.ts';
import { OWN_HEADERS } from '../world.ts';

/** Which policy set of the many is to judge an HTTP request. Policies never name it. */
export const SET_HEADER: string = `${OWN_HEADERS}set`;

/** A filter in Envoy's JSON form, as it went over the wire. */
export interface Filter {
  readonly name: string;
  readonly typed_config: JsonObject;
}

type JsonLike = Readonly<Record<string, unknown>>;

/** Where Envoy reads it from, again each time that it changes. */
export function fromFile(folder: string, name: string): JsonObject {
  return {
    resource_api_version: 'V3',
    path_config_source: { path: `${folder}/${name}`, watched_directory: { path: folder } },
  };
}

/** As Envoy reads them from a file. */
export function resources(version: string, entries: readonly JsonLike[]): JsonLike {
  return { version_info: version, resources: entries };
}
