import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { protoPath as healthProto } from 'grpc-health-check';
import protobuf from 'protobufjs';
import descriptor, { type IDescriptorProto } from 'protobufjs/ext/descriptor.js';

/** What a file of a descriptor holds at its top. */
type Definition = protobuf.Type | protobuf.Enum | protobuf.Service;

/**
 * gRPC server reflection for the xDS services, health and itself. What proto-loader makes of a schema would describe
 * each package as one file; Envoy's packages refer to each other in circles, which no client accepts of files.
 */
export function reflectionService(schema: protobuf.Root): ReflectionService {
  const reflection = dirname(createRequire(import.meta.url).resolve('@grpc/reflection'));
  const others = new protobuf.Root();
  for (const version of ['v1', 'v1alpha']) {
    others.loadSync(join(reflection, `../proto/grpc/reflection/${version}/reflection.proto`), {
      keepCase: true,
    });
  }
  others.loadSync(healthProto, { keepCase: true }).resolveAll();
  const fileDescriptorProtos = [schema, others].flatMap(descriptorFiles);
  // Of a package definition, reflection reads its files and nothing else.
  return new ReflectionService({ files: { fileDescriptorProtos } } as unknown as PackageDefinition);
}

/** The schema as encoded `FileDescriptorProto`s that import each other without circles. */
function descriptorFiles(schema: protobuf.Root): Buffer[] {
  const reached = new Map(definitionsIn(schema).map((one) => [one, reachableFrom(one)]));
  const fileOf = new Map<Definition, string>();
  const files = new Map<string, Definition[]>();
  for (const [one, others] of reached) {
    // Those that need each other share a file; protobuf's own types have the files that clients know.
    const peers = [...others].filter((other) => reached.get(other)?.has(one) === true);
    const first = [one, ...peers].map(({ name }) => name).sort()[0] ?? one.name;
    const file = wellKnownFile(one) ?? `${packageOf(one).replaceAll('.', '/')}/${first}.proto`;
    fileOf.set(one, file);
    files.set(file, [...(files.get(file) ?? []), one]);
  }
  return [...files].map(([name, definitions]) => {
    const imports = definitions.flatMap((one) => [...needsOf(one)].map((other) => fileOf.get(other) ?? ''));
    const file = descriptor.FileDescriptorProto.create({
      name,
      package: definitions[0] === undefined ? '' : packageOf(definitions[0]),
      syntax: 'proto3',
      dependency: [...new Set(imports)].filter((other) => other !== name).sort(),
      messageType: definitions.filter((one) => one instanceof protobuf.Type).map(messageDescriptor),
      enumType: definitions.filter((one) => one instanceof protobuf.Enum).map((one) => one.toDescriptor()),
      service: definitions.filter((one) => one instanceof protobuf.Service).map(serviceDescriptor),
    });
    return Buffer.from(descriptor.FileDescriptorProto.encode(file).finish());
  });
}

function definitionsIn(namespace: protobuf.NamespaceBase): Definition[] {
  return namespace.nestedArray.flatMap((child) => {
    if (isDefinition(child)) return [child];
    return child instanceof protobuf.Namespace ? definitionsIn(child) : [];
  });
}

function isDefinition(object: protobuf.ReflectionObject | null): object is Definition {
  return (
    object instanceof protobuf.Type || object instanceof protobuf.Enum || object instanceof protobuf.Service
  );
}

function packageOf(one: Definition): string {
  return (one.parent?.fullName ?? '').replace(/^\./u, '');
}

function wellKnownFile(one: Definition): string | undefined {
  if (packageOf(one) !== 'google.protobuf') return undefined;
  if (['Struct', 'Value', 'NullValue', 'ListValue'].includes(one.name)) return 'google/protobuf/struct.proto';
  if (one.name.endsWith('Value')) return 'google/protobuf/wrappers.proto';
  return `google/protobuf/${one.name.toLowerCase()}.proto`;
}

/** The top-level definitions that this one names, itself left out. */
function needsOf(one: Definition): Set<Definition> {
  const needs = new Set<Definition>();
  const add = (found: protobuf.ReflectionObject | null): void => {
    let top = found;
    while (isDefinition(top?.parent ?? null)) top = top?.parent ?? null;
    if (isDefinition(top) && top !== one) needs.add(top);
  };
  const visit = (type: protobuf.Type): void => {
    for (const field of type.fieldsArray) add(field.resolve().resolvedType);
    for (const child of type.nestedArray) if (child instanceof protobuf.Type) visit(child);
  };
  if (one instanceof protobuf.Type) visit(one);
  if (one instanceof protobuf.Service) {
    for (const method of one.methodsArray) {
      method.resolve();
      add(method.resolvedRequestType);
      add(method.resolvedResponseType);
    }
  }
  return needs;
}

function reachableFrom(one: Definition): Set<Definition> {
  const reached = new Set<Definition>();
  const waiting = [...needsOf(one)];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    waiting.push(...needsOf(next));
  }
  return reached;
}

/**
 * What protobufjs writes, put right where clients are strict: absolute names, as a nested name may hide the outer one
 * of a relative one; map entries named as protoc does; no `packed` where nothing can be packed.
 */
function messageDescriptor(type: protobuf.Type): IDescriptorProto {
  const message = type.toDescriptor('proto3');
  const maps = new Map<string, protobuf.Field>();
  for (const field of message.field ?? []) {
    const declared = type.fields[field.name ?? ''];
    field.options = {};
    if (declared instanceof protobuf.MapField) {
      maps.set(field.typeName ?? '', declared);
      field.typeName = `${type.fullName}.${entryName(declared)}`;
    } else if (declared?.resolvedType) field.typeName = declared.resolvedType.fullName;
  }
  message.nestedType = (message.nestedType ?? []).map((nested) => {
    const declared = type.nested?.[nested.name ?? ''];
    if (declared instanceof protobuf.Type) return messageDescriptor(declared);
    const map = maps.get(nested.name ?? '');
    if (map === undefined) return nested;
    const value = nested.field?.find(({ name }) => name === 'value');
    if (value !== undefined && map.resolvedType) value.typeName = map.resolvedType.fullName;
    return { ...nested, name: entryName(map) };
  });
  return message;
}

function entryName({ name }: protobuf.Field): string {
  return `${protobuf.util.ucFirst(protobuf.util.camelCase(name))}Entry`;
}

function serviceDescriptor(service: protobuf.Service): descriptor.IServiceDescriptorProto {
  const written = service.toDescriptor();
  for (const method of written.method ?? []) {
    const { resolvedRequestType, resolvedResponseType } = service.methods[method.name ?? ''] ?? {};
    method.inputType = resolvedRequestType?.fullName ?? method.inputType ?? '';
    method.outputType = resolvedResponseType?.fullName ?? method.outputType ?? '';
  }
  return written;
}
