/** Changes of the bootstrap that tests make before an Envoy reads it. */

type Tree = Record<string, unknown>;

/** Changes each object of the tree, in place. */
export function editEach(bootstrap: string, edit: (object: Tree) => void): string {
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    edit(value as Tree);
    for (const child of Object.values(value)) visit(child);
  };
  const tree: unknown = JSON.parse(bootstrap);
  visit(tree);
  return JSON.stringify(tree);
}

/** Speaks HTTP/1.1 with upstreams, whatever they offer. */
export function useHttp1(bootstrap: string): string {
  return editEach(bootstrap, (object) => {
    if (object['auto_config'] === undefined) return;
    delete object['auto_config'];
    object['explicit_http_config'] = { http_protocol_options: {} };
  });
}

/** Makes a new mTLS connection for each request. */
export function useConnectionsOnce(bootstrap: string): string {
  return editEach(bootstrap, (object) => {
    if (object['auto_config'] === undefined) return;
    object['common_http_protocol_options'] = { max_requests_per_connection: 1 };
  });
}

/** Sends the filters' stream to where nobody listens; secrets come as ever. */
export function withoutFilters(bootstrap: string): string {
  const tree = JSON.parse(bootstrap) as { dynamic_resources: unknown };
  const dynamic = editEach(JSON.stringify(tree.dynamic_resources), (object) => {
    if (object['target_uri'] !== undefined) object['target_uri'] = '127.0.0.1:1';
  });
  return JSON.stringify({ ...tree, dynamic_resources: JSON.parse(dynamic) as unknown });
}

/** Asks for the ALLOW filter of TCP where one of HTTP belongs: Envoy refuses what it gets. */
export function wrongFilterType(bootstrap: string): string {
  return editEach(bootstrap, (object) => {
    if (object['name'] === 'countersign.authz.http.allow') object['name'] = 'countersign.authz.tcp.allow';
  });
}

/** As it was written before there were CUSTOM filters: neither their slots nor the authorizers' clusters. */
export function beforeCustom(bootstrap: string): string {
  const old = (name: unknown): boolean =>
    /\.(custom|ext_authz)$|^countersign\.authorizer\./u.test(String(name));
  return editEach(bootstrap, (object) => {
    for (const [key, list] of Object.entries(object))
      if (Array.isArray(list)) object[key] = list.filter((entry: Tree) => !old(entry['name']));
  });
}

/** Written when the mesh's configuration declared no authorizer. */
export function withoutAuthorizers(bootstrap: string): string {
  return editEach(bootstrap, (object) => {
    const { clusters } = object;
    if (Array.isArray(clusters))
      object['clusters'] = clusters.filter(
        (cluster: Tree) => !String(cluster['name']).startsWith('countersign.authorizer.'),
      );
  });
}
