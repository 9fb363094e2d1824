import { afterEach, describe, expect, it } from 'vitest';
import {
  ADS,
  ADS_DELTA,
  ECDS_DELTA,
  EXTENSION,
  FakeView,
  SDS,
  SECRET,
  XdsClient,
  serve,
  sessionOf,
} from './testing.ts';
import type { TestServer } from './testing.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

describe('discoveryServices', () => {
  it('serves a secret over ADS in state of the world, takes the ACK, and pushes its change', async () => {
    const view = new FakeView();
    view.set(SECRET, 'default', '1');
    server = await serve(() => sessionOf(view));
    const xds = new XdsClient(server.client(), ADS);
    xds.send({ node: { id: 'envoy-1' }, type_url: SECRET, resource_names: ['default'] });
    const first = await xds.next();
    expect(first).toMatchObject({ version_info: '1', type_url: SECRET, nonce: '1' });
    expect(Buffer.from(first.resources[0]!.value).toString()).toBe('default@1');
    xds.send({ type_url: SECRET, resource_names: ['default'], response_nonce: '1', version_info: '1' });
    view.set(SECRET, 'default', '2');
    expect(await xds.next()).toMatchObject({ version_info: '2', nonce: '2' });
    expect(server.discovery.streams()).toMatchObject([{ client: 'shop/web', nodeId: 'envoy-1' }]);
  });

  it('serves filters over delta ECDS, names what is gone', async () => {
    const view = new FakeView();
    view.set(EXTENSION, 'deny', '1');
    server = await serve(() => sessionOf(view));
    const xds = new XdsClient(server.client(), ECDS_DELTA);
    xds.send({ resource_names_subscribe: ['deny', 'allow'] });
    const first = await xds.next();
    expect(first.resources).toMatchObject([
      { name: 'deny', version: '1', resource: { type_url: EXTENSION } },
    ]);
    expect(first.removed_resources).toEqual(['allow']);
  });

  it('tells both variants which name it refuses, on a stream that lives on', async () => {
    const view = new FakeView();
    view.set(SECRET, 'other', { kind: 'refused', code: 'PERMISSION_DENIED', reason: "another's" });
    view.set(SECRET, 'default', '1');
    server = await serve(() => sessionOf(view));
    const error = { resource_name: { name: 'other' }, error_detail: { code: 7, message: "another's" } };
    const sotw = new XdsClient(server.client(), SDS);
    sotw.send({ resource_names: ['default', 'other'] });
    expect(await sotw.next()).toMatchObject({ resource_errors: [error], resources: [{}] });
    const delta = new XdsClient(server.client(), ADS_DELTA);
    delta.send({ type_url: SECRET, resource_names_subscribe: ['default', 'other'] });
    expect(await delta.next()).toMatchObject({
      resource_errors: [error],
      removed_resources: ['other'],
      resources: [{ name: 'default' }],
    });
  });
});
