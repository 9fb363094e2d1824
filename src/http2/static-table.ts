import { namedField, type Field } from './header-field.ts';

/** RFC 7541 appendix A, from 1: names in order, each with the values that it is there with. */
const lines = `:authority
:method=GET=POST
:path=/=/index.html
:scheme=http=https
:status=200=204=206=304=400=404=500
accept-charset
accept-encoding=gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`;

/** The field with index n is at n - 1. */
export const STATIC_TABLE: readonly Field[] = lines.split('\n').flatMap((line) => {
  const [name = '', ...values] = line.split('=');
  return values.length === 0 ? [namedField(name, '')] : values.map((value) => namedField(name, value));
});
