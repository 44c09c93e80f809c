// A floor: reads a NUL-separated list of files from standard input and writes one JSON line a
// file, {"path":..., "content":...}, the content escaped with AVX-512. No check for UTF-8.
//
//   inl read|esc THREADS < LIST
//
// Exits with 3 where the processor has no AVX-512BW: a floor that is not the fastest is none.
#define _GNU_SOURCE
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <fcntl.h>
#include <unistd.h>
#include <pthread.h>
#include <stdatomic.h>
static char**fl;static long nf;static atomic_long nx;static int mode;static atomic_long tot,otot;
static const char H[]="0123456789abcdef";
static uint16_t two[256];
// AVX-512BW escape: find bytes <0x20, '"', '\\'; (UTF-8 validity check separate)
__attribute__((target("avx512bw,avx512f,avx512vl,bmi,bmi2"))) static char*esc(char*o,const uint8_t*s,size_t n){
 const __m512i q=_mm512_set1_epi8('"'),b=_mm512_set1_epi8('\\'),c=_mm512_set1_epi8(0x20);size_t i=0;
 while(i<n){size_t m=n-i;__mmask64 lm=m>=64?~0ULL:((1ULL<<m)-1);__m512i v=_mm512_maskz_loadu_epi8(lm,s+i);
  __mmask64 k=(_mm512_cmpeq_epi8_mask(v,q)|_mm512_cmpeq_epi8_mask(v,b)|_mm512_cmplt_epu8_mask(v,c))&lm;
  _mm512_storeu_si512(o,v);size_t adv=m<64?m:64;
  if(!k){o+=adv;i+=adv;continue;}
  size_t base=0;const uint8_t*p=s+i;char*oo=o;
  // expand in segments
  size_t prev=0;while(k){unsigned t=__builtin_ctzll(k);k&=k-1;size_t seg=t-prev;_mm512_storeu_si512(oo,_mm512_maskz_loadu_epi8(lm>>prev,p+prev));oo+=seg;uint8_t ch=p[t];uint16_t e=two[ch];if(e){memcpy(oo,&e,2);oo+=2;}else{memcpy(oo,"\\u00",4);oo[4]=H[ch>>4];oo[5]=H[ch&15];oo+=6;}prev=t+1;}
  size_t seg=adv-prev;_mm512_storeu_si512(oo,_mm512_maskz_loadu_epi8(lm>>(prev&63),p+prev));if(prev<64)oo+=seg;o=oo;i+=adv;}
 return o;}
static void*wk(void*a){size_t Z=1<<25;uint8_t*b=aligned_alloc(4096,Z);size_t OBZ=1<<20;char*o=malloc(Z*6+4096),*oc=o;long i;
 while((i=atomic_fetch_add(&nx,1))<nf){int fd=open(fl[i],O_RDONLY|O_CLOEXEC);if(fd<0)continue;ssize_t r=read(fd,b,Z);close(fd);if(r<0)continue;tot+=r;if(!mode)continue;
  if((size_t)(oc-o)+r*2+8192>OBZ&&oc>o){size_t k=0,n=oc-o;while(k<n){ssize_t w=write(1,o+k,n-k);if(w<=0)exit(1);k+=w;}otot+=n;oc=o;}
  memcpy(oc,"{\"path\":\"",9);oc+=9;size_t l=strlen(fl[i]);memcpy(oc,fl[i],l);oc+=l;memcpy(oc,"\",\"content\":\"",13);oc+=13;oc=esc(oc,b,r);memcpy(oc,"\"}\n",3);oc+=3;}
 size_t k=0,n=oc-o;while(k<n){ssize_t w=write(1,o+k,n-k);if(w<=0)exit(1);k+=w;}otot+=n;return 0;}
int main(int c,char**v){if(!__builtin_cpu_supports("avx512bw"))return 3;mode=!strcmp(v[1],"esc");int nt=atoi(v[2]);two['"']='\\'|('"'<<8);two['\\']='\\'|('\\'<<8);two['\n']='\\'|('n'<<8);two['\t']='\\'|('t'<<8);two['\r']='\\'|('r'<<8);two['\b']='\\'|('b'<<8);two['\f']='\\'|('f'<<8);
 size_t cap=1<<24,n=0;char*b=malloc(cap);ssize_t r;while((r=read(0,b+n,cap-n))>0){n+=r;if(n==cap)b=realloc(b,cap*=2);}
 fl=malloc(sizeof(char*)*(n/2+1));for(size_t i=0;i<n;){fl[nf++]=b+i;i+=strlen(b+i)+1;}
 pthread_t t[16];for(int i=0;i<nt;i++)pthread_create(&t[i],0,wk,0);for(int i=0;i<nt;i++)pthread_join(t[i],0);fprintf(stderr,"in %ld out %ld\n",tot,otot);return 0;}
