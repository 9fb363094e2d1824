/** What a header is to a unary call; all others are decoded and left alone. */
export const Kind = {
  OTHER: 0,
  METHOD: 1,
  SCHEME: 2,
  PATH: 3,
  AUTHORITY: 4,
  /** Begins with a colon, and is none of a request's. */
  STRANGE_PSEUDO: 5,
  CONTENT_TYPE: 6,
  AUTHORIZATION: 7,
  TIMEOUT: 8,
  ENCODING: 9,
  CONTENT_LENGTH: 10,
  TE: 11,
  /** Says something of HTTP/1.1's connection (RFC 9113 section 8.2.2). */
  CONNECTION: 12,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

const kinds: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  [':method', Kind.METHOD],
  [':scheme', Kind.SCHEME],
  [':path', Kind.PATH],
  [':authority', Kind.AUTHORITY],
  ['content-type', Kind.CONTENT_TYPE],
  ['authorization', Kind.AUTHORIZATION],
  ['grpc-timeout', Kind.TIMEOUT],
  ['grpc-encoding', Kind.ENCODING],
  ['content-length', Kind.CONTENT_LENGTH],
  ['te', Kind.TE],
  ['connection', Kind.CONNECTION],
  ['keep-alive', Kind.CONNECTION],
  ['proxy-connection', Kind.CONNECTION],
  ['transfer-encoding', Kind.CONNECTION],
  ['upgrade', Kind.CONNECTION],
]);

/** A token without uppercase letters, after the colon of pseudo-headers (RFC 9113 section 8.2.1). */
const validName = /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/u;
// oxlint-disable-next-line no-control-regex -- that these are not in it is what is asked
const invalidValue = /[\0\r\n]|^[ \t]|[ \t]$/u;
/** RFC 7541 section 4.1. */
const FIELD_OVERHEAD = 32;

export interface Field {
  readonly name: string;
  /** Bytes as characters. */
  readonly value: string;
  readonly kind: Kind;
  /** As tables count it. */
  readonly size: number;
  /** May be in a message. */
  readonly valid: boolean;
}

/** A field whose name came as text. */
export function namedField(name: string, value: string): Field {
  const kind = kinds.get(name) ?? (name.startsWith(':') ? Kind.STRANGE_PSEUDO : Kind.OTHER);
  return field(name, kind, validName.test(name), value);
}

/** A field whose name is that of another. */
export function likeField(other: Field, value: string): Field {
  return field(other.name, other.kind, other.valid || validName.test(other.name), value);
}

function field(name: string, kind: Kind, nameIsValid: boolean, value: string): Field {
  return {
    name,
    value,
    kind,
    size: name.length + value.length + FIELD_OVERHEAD,
    valid: nameIsValid && !invalidValue.test(value),
  };
}
