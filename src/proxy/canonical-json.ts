import protobuf from 'protobufjs';

type Message = Readonly<Record<string, unknown>>;

const WRAPPER = /^\.google\.protobuf\.(?:U?Int32|U?Int64|Bool|String|Bytes|Float|Double)Value$/u;

/**
 * Protobuf's canonical JSON in the form that protobufjs takes: a wrapper such as `google.protobuf.UInt32Value` is
 * a bare value in the one and a message in the other, a `google.protobuf.Duration` the text `1.5s`.
 */
export function fromCanonicalJson(type: protobuf.Type, message: Message): Message {
  const url = nameOf(type) === '.google.protobuf.Any' ? message['@type'] : undefined;
  const { fields } =
    typeof url === 'string' ? type.root.lookupType(url.slice(url.lastIndexOf('/') + 1)) : type;
  return Object.fromEntries(
    Object.entries(message).map(([name, value]) => [name, fieldValue(fields[name], value)]),
  );
}

function fieldValue(field: protobuf.Field | undefined, value: unknown): unknown {
  const type = field?.resolve().resolvedType;
  if (field === undefined || !(type instanceof protobuf.Type)) return value;
  if (field.repeated && Array.isArray(value)) return value.map((entry) => messageValue(type, entry));
  if (!field.map || !isMessage(value)) return messageValue(type, value);
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, messageValue(type, entry)]));
}

function messageValue(type: protobuf.Type, value: unknown): unknown {
  if (isMessage(value)) return nameOf(type) === RULE ? rule(type, value) : fromCanonicalJson(type, value);
  if (nameOf(type) === '.google.protobuf.Duration' && typeof value === 'string') return duration(value);
  return WRAPPER.test(nameOf(type)) ? { value } : value;
}

const names = new WeakMap<protobuf.Type, string>();

/** `fullName` puts it together anew at each look. */
function nameOf(type: protobuf.Type): string {
  const name = names.get(type) ?? type.fullName;
  names.set(type, name);
  return name;
}

const RULE = '.envoy.config.rbac.v3.Policy';
const rules = new WeakMap<protobuf.Type, WeakMap<Message, protobuf.Message>>();

/**
 * The compiler hands out a rule as the same object wherever it stands: it is converted once, for all filters that
 * hold it. protobufjs takes what is a message already as it is.
 */
function rule(type: protobuf.Type, value: Message): protobuf.Message {
  const known = rules.get(type) ?? new WeakMap<Message, protobuf.Message>();
  rules.set(type, known);
  const message = known.get(value) ?? type.fromObject(fromCanonicalJson(type, value));
  known.set(value, message);
  return message;
}

/** What is no duration stays as it is, and protobufjs refuses it. */
function duration(text: string): unknown {
  const [, seconds, fraction = ''] = /^(\d{1,12})(?:\.(\d{1,9}))?s$/u.exec(text) ?? [];
  return seconds === undefined ? text : { seconds: Number(seconds), nanos: Number(fraction.padEnd(9, '0')) };
}

function isMessage(value: unknown): value is Message {
  return typeof value === 'object' && value !== null;
}
