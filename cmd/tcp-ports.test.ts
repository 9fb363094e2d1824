import { describe, expect, it } from 'vitest';
import { tcpPortsOf, tcpServicesOf, type Serving } from './tcp-ports.ts';

const service = (port: Partial<Serving['ports'][number]>, selector: object = { app: 'db' }): Serving => ({
  namespace: 'shop',
  selector: { ...selector },
  ports: [{ name: '', appProtocol: '', port: 80, targetPort: '', ...port }],
});
const pod = { namespace: 'shop', labels: { app: 'db', tier: 'back' } };

describe('TCP ports of workloads', () => {
  it.each([
    ['by appProtocol', service({ appProtocol: 'mysql', targetPort: 3306 }), [3306]],
    ['by the first word of the name', service({ name: 'tcp-orders', port: 9000 }), [9000]],
    ['not where appProtocol says otherwise', service({ name: 'tcp-orders', appProtocol: 'http' }), []],
    ['a named target counts by the port', service({ name: 'redis', port: 6379, targetPort: 'db' }), [6379]],
    ['not of pods that the Service does not select', service({ name: 'tcp' }, { app: 'web' }), []],
    ['not of a Service without a selector', service({ name: 'tcp' }, {}), []],
    ['not by what every object has', service({ name: 'tcp' }, { toString: 'x' }), []],
    ['not of another namespace', { ...service({ name: 'tcp' }), namespace: 'other' }, []],
  ])('%s', (_name, each, ports) => {
    expect(tcpPortsOf([pod], tcpServicesOf([each]))).toEqual(ports);
  });

  it('are named once, in order', () => {
    const services = [
      service({ name: 'tcp', port: 9 }),
      service({ name: 'tls', port: 7 }),
      service({ name: 'tcp', port: 9 }),
    ];
    expect(tcpPortsOf([pod, pod], tcpServicesOf(services))).toEqual([7, 9]);
  });
});
