// A floor: raw getdents64, with statx from `stat` on, with one JSON line an entry in `json`.
// It reports no errors and knows no rules: a limit, not a product.
//
//   lim -t THREADS -m count|names|stat|sline|json [-g] ROOT     (skips .git unless -g)
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <stdint.h>
struct ld{uint64_t ino;int64_t off;unsigned short reclen;unsigned char type;char name[];};
enum{COUNT,NAMES,STAT,SLINE,JSON};
static int mode=COUNT,nt=1,rootfd,skipgit=1; static size_t GB=65536;
typedef struct{char*o;size_t n;long cnt;long bytes;int64_t day;char ds[16];}T;
#define OB (256*1024)
static void flush(T*t){size_t k=0;while(k<t->n){ssize_t w=write(1,t->o+k,t->n-k);if(w<=0)exit(1);k+=w;}t->n=0;}
static inline void put(T*t,const char*s,size_t n){memcpy(t->o+t->n,s,n);t->n+=n;}
static const char D2[]="00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
static inline void putu(T*t,uint64_t v){char b[24];int i=24;while(v>=100){i-=2;memcpy(b+i,D2+2*(v%100),2);v/=100;}if(v>=10){i-=2;memcpy(b+i,D2+2*v,2);}else b[--i]='0'+v;put(t,b+i,24-i);}
static void day(T*t,int64_t z){t->day=z;z+=719468;int64_t era=(z>=0?z:z-146096)/146097;unsigned doe=z-era*146097,yoe=(doe-doe/1460+doe/36524-doe/146096)/365;int64_t y=yoe+era*400;unsigned doy=doe-(365*yoe+yoe/4-yoe/100),mp=(5*doy+2)/153,d=doy-(153*mp+2)/5+1,m=mp<10?mp+3:mp-9;if(m<=2)y++;snprintf(t->ds,16,"%04d-%02u-%02uT",(int)y,m,d);}
static inline void putt(T*t,int64_t s,uint32_t ns){int64_t dd=s/86400;int r=s%86400;if(r<0){r+=86400;dd--;}if(dd!=t->day)day(t,dd);char*p=t->o+t->n;memcpy(p,t->ds,11);p+=11;memcpy(p,D2+2*(r/3600),2);p[2]=':';memcpy(p+3,D2+2*(r/60%60),2);p[5]=':';memcpy(p+6,D2+2*(r%60),2);p[8]='.';uint32_t us=ns/1000;memcpy(p+9,D2+2*(us/10000),2);memcpy(p+11,D2+2*(us/100%100),2);memcpy(p+13,D2+2*(us%100),2);p[15]='Z';t->n+=27;}
static inline void esc(T*t,const char*s,size_t n){int bad=0;for(size_t i=0;i<n;i++)bad|=((unsigned char)s[i]<32)|(s[i]=='"')|(s[i]=='\\');if(!bad){put(t,s,n);return;}
 for(size_t i=0;i<n;i++){unsigned char c=s[i];if(c=='"'||c=='\\'){t->o[t->n++]='\\';t->o[t->n++]=c;}else if(c<32)t->n+=sprintf(t->o+t->n,"\\u%04x",c);else t->o[t->n++]=c;}}
static inline void ent(T*t,int fd,const char*dir,size_t dl,const char*nm,size_t nl,int type){
 t->cnt++; if(mode==COUNT)return;
 if(t->n+dl*6+nl*12+256>OB)flush(t);
 if(mode==NAMES){put(t,dir,dl);put(t,nm,nl);t->o[t->n++]='\n';return;}
 struct statx sx; if(syscall(SYS_statx,fd,nm,AT_SYMLINK_NOFOLLOW|AT_STATX_DONT_SYNC,STATX_TYPE|STATX_SIZE|STATX_MTIME,&sx))return;
 t->bytes+=sx.stx_size; if(mode==STAT)return;
 if(mode==SLINE){put(t,dir,dl);put(t,nm,nl);t->o[t->n++]=' ';putu(t,sx.stx_size);t->o[t->n++]=' ';putu(t,sx.stx_mtime.tv_sec);t->o[t->n++]='\n';return;}
 put(t,"{\"name\":\"",9);esc(t,nm,nl);put(t,"\",\"path\":\"",10);esc(t,dir,dl);esc(t,nm,nl);put(t,"\",\"type\":\"",10);
 if(type==DT_DIR)put(t,"directory",9);else if(type==DT_LNK)put(t,"symlink",7);else put(t,"file",4);
 put(t,"\",\"size\":",9);putu(t,sx.stx_size);put(t,",\"modified\":\"",13);putt(t,sx.stx_mtime.tv_sec,sx.stx_mtime.tv_nsec);put(t,"\"}\n",3);
}
static void rec(T*t,int fd,char*path,size_t pl,char*buf){
 // subdir names collected to allow buffer reuse
 size_t cap=0,len=0;char*sub=0;long r;
 while((r=syscall(SYS_getdents64,fd,buf,GB))>0){for(char*p=buf;p<buf+r;){struct ld*d=(void*)p;p+=d->reclen;char*n=d->name;if(n[0]=='.'&&(!n[1]||(n[1]=='.'&&!n[2])))continue;size_t nl=strlen(n);
  if(d->type==DT_DIR){if(skipgit&&nl==4&&!memcmp(n,".git",4))continue;if(len+nl+1>cap){cap=(len+nl+1)*2+256;sub=realloc(sub,cap);}memcpy(sub+len,n,nl+1);len+=nl+1;}
  ent(t,fd,path,pl,n,nl,d->type);}}
 for(size_t i=0;i<len;){size_t nl=strlen(sub+i);int c=openat(fd,sub+i,O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);if(c>=0){memcpy(path+pl,sub+i,nl);path[pl+nl]='/';rec(t,c,path,pl+nl+1,buf);close(c);}i+=nl+1;}
 free(sub);}
// multi-thread: LIFO of paths
static char**st;static size_t sn,sc;static int busy,done;static pthread_mutex_t mu=PTHREAD_MUTEX_INITIALIZER;static pthread_cond_t cv=PTHREAD_COND_INITIALIZER;
static void*work(void*a){T*t=a;char*buf=malloc(GB);char path[8192];char*loc[4096];
 for(;;){pthread_mutex_lock(&mu);while(!sn&&busy)pthread_cond_wait(&cv,&mu);if(!sn&&!busy){done=1;pthread_cond_broadcast(&cv);pthread_mutex_unlock(&mu);break;}
  char*p=st[--sn];busy++;pthread_mutex_unlock(&mu);
  size_t pl=strlen(p);memcpy(path,p,pl+1);free(p);
  int fd=openat(rootfd,pl?path:".",O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);size_t ln=0;long r;
  if(fd>=0){while((r=syscall(SYS_getdents64,fd,buf,GB))>0){for(char*q=buf;q<buf+r;){struct ld*d=(void*)q;q+=d->reclen;char*n=d->name;if(n[0]=='.'&&(!n[1]||(n[1]=='.'&&!n[2])))continue;size_t nl=strlen(n);
   if(d->type==DT_DIR){if(skipgit&&nl==4&&!memcmp(n,".git",4))continue;char*s=malloc(pl+nl+2);memcpy(s,path,pl);memcpy(s+pl,n,nl);s[pl+nl]='/';s[pl+nl+1]=0;loc[ln++]=s;if(ln==4096){pthread_mutex_lock(&mu);if(sn+ln>sc){sc=(sn+ln)*2;st=realloc(st,sc*8);}memcpy(st+sn,loc,ln*8);sn+=ln;ln=0;pthread_cond_broadcast(&cv);pthread_mutex_unlock(&mu);}}
   ent(t,fd,path,pl,n,nl,d->type);}}close(fd);}
  pthread_mutex_lock(&mu);busy--;if(sn+ln>sc){sc=(sn+ln)*2;st=realloc(st,sc*8);}memcpy(st+sn,loc,ln*8);sn+=ln;if(ln||(!sn&&!busy))pthread_cond_broadcast(&cv);pthread_mutex_unlock(&mu);}
 flush(t);free(buf);return 0;}
int main(int c,char**v){int o;while((o=getopt(c,v,"t:m:b:g"))>0){if(o=='t')nt=atoi(optarg);if(o=='b')GB=atoi(optarg);if(o=='g')skipgit=0;if(o=='m')mode=!strcmp(optarg,"names")?NAMES:!strcmp(optarg,"stat")?STAT:!strcmp(optarg,"sline")?SLINE:!strcmp(optarg,"json")?JSON:COUNT;}
 rootfd=open(v[optind],O_RDONLY|O_DIRECTORY);if(rootfd<0)return 1;T ts[64];long tot=0,by=0;
 for(int i=0;i<nt;i++){ts[i]=(T){malloc(OB+16384),0,0,0,INT64_MIN,{0}};}
 if(nt==1){char path[8192];char*buf=malloc(GB);rec(&ts[0],rootfd,path,0,buf);flush(&ts[0]);}
 else{sc=1024;st=malloc(sc*8);st[sn++]=strdup("");pthread_t th[64];for(int i=0;i<nt;i++)pthread_create(&th[i],0,work,&ts[i]);for(int i=0;i<nt;i++)pthread_join(th[i],0);}
 for(int i=0;i<nt;i++){tot+=ts[i].cnt;by+=ts[i].bytes;}
 fprintf(stderr,"%ld entries %ld bytes\n",tot,by);return 0;}
