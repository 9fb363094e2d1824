export { KubernetesSource } from './kubernetes-source.ts';
export type { KubernetesSourceOptions } from './kubernetes-source.ts';
export type { KubernetesReport, PolicyStatus } from './types.ts';
export { PLURALS } from './policy-kinds.ts';
