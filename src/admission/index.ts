export { judge } from './judge.ts';
export {
  openAdmissionServer,
  VALIDATE_PATH,
  type AdmissionCredentials,
  type AdmissionServer,
} from './server.ts';
export type { AdmissionRequest, DocumentJudge, Judgement } from './types.ts';
