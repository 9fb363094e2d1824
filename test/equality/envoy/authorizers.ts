import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { freePort } from '../../harness/ports.ts';
import { OWN_HEADERS } from '../world.ts';
import { endpoint } from './connect.ts';

/** Says what the authorizer is to answer to this request. */
export const ANSWER_HEADER: string = `${OWN_HEADERS}answer`;
/** Tells requests apart, in the access log and here. */
export const NUMBER_HEADER: string = `${OWN_HEADERS}number`;

/** What of Envoy's CheckRequest is read here; numbers of its published protos. */
const checkRequest = protobuf
  .parse(
    `syntax = "proto3";
  message CheckRequest { Attributes attributes = 1; }
  message Attributes { Peer source = 1; Request request = 4; }
  message Peer { Address address = 1; }
  message Address { SocketAddress socket_address = 1; }
  message SocketAddress { string address = 2; uint32 port_value = 3; }
  message Request { Http http = 2; }
  message Http { map<string, string> headers = 3; }`,
    { keepCase: true },
  )
  .root.lookupType('CheckRequest');

interface Check {
  readonly attributes?: {
    readonly source?: {
      readonly address?: {
        readonly socket_address?: { readonly address: string; readonly port_value: number };
      };
    };
    readonly request?: { readonly http?: { readonly headers: Readonly<Record<string, string>> } };
  };
}

/** `CheckResponse`: an empty status is OK, one with code 7 is PERMISSION_DENIED. */
const YES = Buffer.from([10, 0]);
const NO = Buffer.from([10, 2, 8, 7]);

/** The external authorizers that are there: real servers, one by gRPC and one by HTTP. */
export class Authorizers {
  readonly #grpc = new GrpcServer();
  readonly #http: Server;
  readonly #asked = new Set<string>();
  readonly #denied = new Set<string>();
  /** Where each authorizer of the mesh is; nobody listens at `away` and `open`. */
  readonly ports: Readonly<Record<string, number>>;

  private constructor(http: Server, ports: Readonly<Record<string, number>>) {
    this.#http = http;
    this.ports = ports;
  }

  static async start(): Promise<Authorizers> {
    // A connection that is closed just when Envoy takes it up again would be an authorizer that is away.
    const http = createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const { port } = http.address() as AddressInfo;
    const ports: Record<string, number> = { http: port, away: await freePort(), open: await freePort() };
    const authorizers = new Authorizers(http, ports);
    ports['grpc'] = await authorizers.#listen();
    return authorizers;
  }

  /**
   * A question begins.
   * @param key the number of a request, or the client's end of a connection
   * @param answer to a connection, which carries no header
   */
  expect(key: string, answer: 'ALLOW' | 'DENY' | undefined): void {
    this.#asked.delete(key);
    if (answer === 'DENY') this.#denied.add(key);
    else this.#denied.delete(key);
  }

  /** Since it began. */
  wasAsked(key: string): boolean {
    return this.#asked.has(key);
  }

  close(): void {
    this.#grpc.forceShutdown();
    this.#http.closeAllConnections();
    this.#http.close();
  }

  async #listen(): Promise<number> {
    this.#http.on('request', ({ headers }, response) => {
      const [number, answer] = [headers[NUMBER_HEADER], headers[ANSWER_HEADER]];
      this.#asked.add(String(number));
      response.statusCode = answer === 'DENY' ? 403 : 200;
      response.end();
    });
    const bytes = (value: Buffer): Buffer => value;
    const method = {
      path: '/envoy.service.auth.v3.Authorization/Check',
      ...{ requestStream: false, responseStream: false },
      ...{ requestSerialize: bytes, requestDeserialize: bytes },
      ...{ responseSerialize: bytes, responseDeserialize: bytes },
    };
    this.#grpc.addService(
      { Check: method },
      {
        Check: ({ request }: { request: Buffer }, answer: (error: null, response: Buffer) => void): void => {
          answer(null, this.#judge(request) ? YES : NO);
        },
      },
    );
    return await new Promise((resolve, reject) => {
      this.#grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  #judge(request: Buffer): boolean {
    const { attributes } = checkRequest.decode(request) as unknown as Check;
    const headers = attributes?.request?.http?.headers ?? {};
    const number = headers[NUMBER_HEADER];
    if (number !== undefined) {
      this.#asked.add(number);
      return headers[ANSWER_HEADER] !== 'DENY';
    }
    const { address = '', port_value: port = 0 } = attributes?.source?.address?.socket_address ?? {};
    const source = endpoint(address, port);
    this.#asked.add(source);
    return !this.#denied.has(source);
  }
}
