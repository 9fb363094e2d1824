import { Kind, type Field } from './header-field.ts';
import type { FieldSink } from './header-decoder.ts';

/** What a unary call needs of a request's headers. */
export class RequestHead implements FieldSink {
  method: string | undefined;
  scheme: string | undefined;
  path: string | undefined;
  contentType: string | undefined;
  timeout: string | undefined;
  encoding: string | undefined;
  contentLength: string | undefined;
  readonly authorization: string[] = [];
  #regular = false;
  #authority = false;
  #wrong = false;

  /** Against RFC 9113 sections 8.2 and 8.3; asked once all of it came. */
  get malformed(): boolean {
    return this.#wrong || this.method === undefined || this.scheme === undefined || !this.path;
  }

  field(field: Field): void {
    const { kind, value } = field;
    if (!field.valid) this.#wrong = true;
    if (kind === Kind.OTHER) {
      this.#regular = true;
      return;
    }
    if (kind > Kind.STRANGE_PSEUDO) {
      this.#regular = true;
      this.#regularField(kind, value);
      return;
    }
    if (this.#regular) this.#wrong = true;
    this.#pseudoField(kind, value);
  }

  #pseudoField(kind: Kind, value: string): void {
    if (kind === Kind.METHOD) {
      if (this.method !== undefined) this.#wrong = true;
      this.method = value;
    } else if (kind === Kind.SCHEME) {
      if (this.scheme !== undefined) this.#wrong = true;
      this.scheme = value;
    } else if (kind === Kind.PATH) {
      if (this.path !== undefined) this.#wrong = true;
      this.path = value;
    } else {
      if (kind !== Kind.AUTHORITY || this.#authority) this.#wrong = true;
      this.#authority = true;
    }
  }

  #regularField(kind: Kind, value: string): void {
    switch (kind) {
      case Kind.CONTENT_TYPE:
        this.contentType = value;
        break;
      case Kind.AUTHORIZATION:
        this.authorization.push(value);
        break;
      case Kind.TIMEOUT:
        this.timeout = value;
        break;
      case Kind.ENCODING:
        this.encoding = value;
        break;
      case Kind.CONTENT_LENGTH:
        if (this.contentLength !== undefined && this.contentLength !== value) this.#wrong = true;
        this.contentLength = value;
        break;
      case Kind.TE:
        if (value !== 'trailers') this.#wrong = true;
        break;
      default:
        this.#wrong = true;
    }
  }
}

/** A request's trailers, of which nothing is used. */
export class Trailers implements FieldSink {
  malformed = false;

  field({ kind, valid }: Field): void {
    if (!valid || (kind !== Kind.OTHER && kind <= Kind.STRANGE_PSEUDO) || kind === Kind.CONNECTION) {
      this.malformed = true;
    }
  }
}
