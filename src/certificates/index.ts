export { RequestRate } from './request-rate.ts';
export type { RequestRateOptions } from './request-rate.ts';
export { CERTIFICATE_PATH, CertificateService } from './service.ts';
export type {
  CertificateAnswer,
  CertificateCall,
  CertificateObserver,
  CertificateServiceOptions,
  CertificateStatus,
  Credentials,
  Issuance,
  RefusedField,
  RequestRefusal,
  SaidRefusal,
  SigningRequest,
} from './types.ts';
export type { ValidityBounds } from './validity.ts';
