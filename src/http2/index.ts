export { MAX_MESSAGE_BYTES } from './call.ts';
export { serveUnary } from './serve.ts';
export type {
  After,
  UnaryAnswer,
  UnaryConnection,
  UnaryHandler,
  UnaryOptions,
  UnaryRequest,
} from './types.ts';
