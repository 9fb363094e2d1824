import { describe, expect, it } from 'vitest';
import { compilePeerRequests } from './envoy-peer-http.ts';
import type { PeerMode } from './types.ts';

function policies(mode: PeerMode, ports: readonly (readonly [number, PeerMode])[] = []): unknown {
  const { typed_config: config } = compilePeerRequests({ mode, ports: new Map(ports), from: [] });
  if (config.rules === undefined) return undefined;
  expect(config.rules.action).toBe('DENY');
  return Object.fromEntries(
    Object.entries(config.rules.policies).map(([name, { permissions }]) => [name, permissions]),
  );
}

describe('compilePeerRequests', () => {
  it('refuses plaintext where the mode is STRICT, mTLS where it is DISABLE', () => {
    expect(policies('STRICT')).toEqual({ plaintext: [{ any: true }] });
    expect(policies('DISABLE')).toEqual({ mtls: [{ any: true }] });
    expect(policies('PERMISSIVE')).toBeUndefined();
  });

  it('port by port', () => {
    expect(
      policies('PERMISSIVE', [
        [90, 'DISABLE'],
        [80, 'STRICT'],
        [70, 'STRICT'],
      ]),
    ).toEqual({
      mtls: [{ destination_port: 90 }],
      plaintext: [{ destination_port: 70 }, { destination_port: 80 }],
    });
    expect(
      policies('STRICT', [
        [80, 'PERMISSIVE'],
        [90, 'DISABLE'],
      ]),
    ).toEqual({
      mtls: [{ destination_port: 90 }],
      plaintext: [
        { not_rule: { or_rules: { rules: [{ destination_port: 80 }, { destination_port: 90 }] } } },
      ],
    });
  });
});
