export { RequestRate } from './request-rate.ts';
export type { RequestRateOptions } from './request-rate.ts';
export { certificateService } from './service.ts';
export type { CertificateService } from './service.ts';
export type {
  CertificateObserver,
  CertificateServiceOptions,
  Credentials,
  RefusedField,
  RequestRefusal,
  SaidRefusal,
} from './types.ts';
export type { ValidityBounds } from './validity.ts';
