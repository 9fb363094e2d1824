import { isIPv6 } from 'node:net';

/**
 * Headers of which Envoy 1.40 keeps one value: a second one is appended behind a comma, an empty one is dropped. Of all others it keeps each
 * value, and a matcher is satisfied when any of them is. Found by asking the real Envoy about each name.
 */
const COMBINED: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'access-control-request-headers',
  'access-control-request-method',
  'authentication',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-type',
  'expect',
  'grpc-accept-encoding',
  'grpc-timeout',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'origin',
  'pragma',
  'referer',
  'user-agent',
  'via',
  'x-client-trace-id',
  'x-envoy-attempt-count',
  'x-envoy-decorator-operation',
  'x-envoy-downstream-service-cluster',
  'x-envoy-downstream-service-node',
  'x-envoy-external-address',
  'x-envoy-original-path',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-request-id',
]);

/** The values of a header that matchers look at, one by one. */
export function matchedValues(name: string, received: readonly string[]): readonly string[] {
  if (!COMBINED.has(name)) return received;
  const combined = received.length < 2 ? received : [received.filter((value) => value !== '').join(',')];
  return name === 'referer' ? combined.filter(isReferer) : combined;
}

const ABSOLUTE =
  /^[a-z][a-z0-9+.-]*:\/\/(?:[a-z\d.-]+|\[([\da-f:.]+)(?:%\w+)?\])(?::(\d+))?(?:[/?][!"$-~]*)?#?$/i;
const RELATIVE = /^[\w\-.~!$&'()*+,;=@%?]*(\/[\w\-.~!$&'()*+,;=@%?:/]*)?$/;

/** Envoy drops a Referer that is neither an absolute URL without user and fragment nor a relative one without fragment. */
function isReferer(value: string): boolean {
  const url = ABSOLUTE.exec(value);
  if (url === null) return RELATIVE.test(value);
  const [, address, port = '0'] = url;
  return (address === undefined || isIPv6(address)) && Number(port) < 65_536;
}
