/**
 * The policies' CRDs as bare as they can be, without any rule: what reaches the control plane with them is whatever
 * somebody writes. Those with schemas are in `deploy/`.
 */
export function bareCrd(
  group: 'security.countersign.dev' | 'security.istio.io',
  kind: string,
  served: readonly string[] = ['v1'],
): object {
  const plural = pluralOf(kind);
  const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      scope: 'Namespaced',
      versions: served.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        schema: { openAPIV3Schema: anything },
        subresources: { status: {} },
      })),
    },
  };
}

export function pluralOf(kind: string): string {
  return kind.toLowerCase().replace(/y$/u, 'ies').replace(/n$/u, 'ns');
}
