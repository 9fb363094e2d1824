import { readFileSync } from 'node:fs';
import type { KubeObject } from '../cluster/api-client.ts';
import { root } from '../harness/paths.ts';
import { objectsIn, only } from './chart.ts';

/** docs/kubernetes.md. */
export const page: string = readFileSync(`${root}docs/kubernetes.md`, 'utf8');

/** Every line of every shell block of the page, in order. */
export function commandsOf(): readonly string[] {
  return [...page.matchAll(/```sh\n(.*?)```/gsu)].flatMap(([, block = '']) => block.trim().split('\n'));
}

export interface ExamplePod {
  readonly initContainers: readonly [
    {
      readonly args: readonly string[];
      readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
    },
  ];
  readonly volumes: readonly { readonly name: string }[];
}

/** A Deployment of deploy/examples/shop.yaml. */
export function exampleDeployment(name: string): KubeObject {
  return only(objectsIn(readFileSync(`${root}deploy/examples/shop.yaml`, 'utf8')), 'Deployment', name);
}

export function examplePod(name: string): ExamplePod {
  const { template } = exampleDeployment(name)['spec'] as { template: { spec: ExamplePod } };
  return template.spec;
}
