import { cidrRange, headerMatcher, metadataOf, stringMatcher, textValue } from './envoy-matchers.ts';
import type { Permission, UriTemplate } from './envoy-types.ts';
import { envoyTemplate, wideTemplateRegex } from './template.ts';
import type { Matcher, Term } from './types.ts';

const URI_TEMPLATE = 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig';

/**
 * The permission that one value of a term on the operation stands for; undefined: it is no matter of permissions.
 *
 * @param wide - in doubt match: set where missing a request would let it through.
 */
export function permissionFor(
  attribute: Term['attribute'],
  matcher: Matcher,
  wide: boolean,
): Permission | undefined {
  switch (attribute.kind) {
    case 'request.host':
      return { header: headerMatcher(':authority', matcher, true) };
    case 'request.method':
      return { header: headerMatcher(':method', matcher, false) };
    case 'request.path':
      return pathPermission(matcher, wide);
    case 'destination.ip':
      return matcher.kind === 'cidr' ? { destination_ip: cidrRange(matcher) } : undefined;
    case 'destination.port':
      return matcher.kind === 'port' ? { destination_port: matcher.value } : undefined;
    case 'connection.sni':
      // A connection without SNI has the empty name.
      return matcher.kind === 'present'
        ? { not_rule: { requested_server_name: { exact: '' } } }
        : { requested_server_name: stringMatcher(matcher, true) };
    case 'filter.metadata': {
      const value =
        matcher.kind === 'listItem'
          ? { list_match: { one_of: textValue(matcher.item) } }
          : textValue(matcher);
      return { sourced_metadata: metadataOf(attribute.filter, [attribute.key], value) };
    }
    default:
      return undefined;
  }
}

function pathPermission(matcher: Matcher, wide: boolean): Permission {
  if (matcher.kind === 'present') return { header: headerMatcher(':path', matcher, false) };
  if (matcher.kind !== 'template') return { url_path: { path: stringMatcher(matcher, false) } };
  const template: Permission = { uri_template: uriTemplate(matcher.value) };
  if (!wide) return template;
  // Envoy's operators take no [ and ]: without the second matcher, one of them in a path would pass a DENY.
  const regex = { safe_regex: { regex: wideTemplateRegex(matcher.value) } };
  return { or_rules: { rules: [template, { url_path: { path: regex } }] } };
}

function uriTemplate(template: string): UriTemplate {
  return {
    name: 'uri_template',
    typed_config: { '@type': URI_TEMPLATE, path_template: envoyTemplate(template) },
  };
}
