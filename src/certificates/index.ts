export { certificateService } from './service.ts';
export type { CertificateService } from './service.ts';
export type {
  CertificateObserver,
  CertificateServiceOptions,
  Credentials,
  RefusedField,
  RequestRefusal,
} from './types.ts';
export type { ValidityBounds } from './validity.ts';
