/** Kubernetes' rules for names and labels (RFC 1123 names; label syntax). Each answers what is wrong, or undefined. */

const LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^[A-Za-z0-9](?:[-\w.]*[A-Za-z0-9])?$/;

export type NameRule = (text: string) => string | undefined;

/** Namespaces, services. */
export function dnsLabelFault(text: string): string | undefined {
  if (text.length <= 63 && LABEL.test(text)) return undefined;
  return 'must be a DNS label: at most 63 of a-z, 0-9 and -, beginning and ending with a letter or digit';
}

/** Pods, service accounts, nodes, policies. */
export function dnsSubdomainFault(text: string): string | undefined {
  if (text.length <= 253 && SUBDOMAIN.test(text)) return undefined;
  return 'must be a DNS name: at most 253 of a-z, 0-9, - and ., each part beginning and ending with a letter or digit';
}

/** UIDs are opaque, and end up in tokens and logs. */
export function uidFault(text: string): string | undefined {
  return /^[\w.:-]{1,128}$/.test(text) ? undefined : 'must be 1 to 128 letters, digits, -, _, . or :';
}

export function labelKeyFault(text: string): string | undefined {
  const slash = text.indexOf('/');
  const name = text.slice(slash + 1);
  const prefixFine = slash === -1 || dnsSubdomainFault(text.slice(0, slash)) === undefined;
  if (prefixFine && name.length <= 63 && QUALIFIED.test(name)) return undefined;
  return 'is no label key: [DNS name/]name is, the name of at most 63 letters, digits, -, _ and .';
}

export function labelValueFault(text: string): string | undefined {
  if (text === '' || (text.length <= 63 && QUALIFIED.test(text))) return undefined;
  return 'is no label value: at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit';
}
